// From token ids to what the client reads: text up to a stop string, reasoning apart from answer, tool calls.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <variant>
#include <vector>

#include "api-gateway/served_model.h"
#include "api-gateway/stop_strings.h"
#include "api-gateway/token_order.h"
#include "text/detokenizer.h"
#include "text/reasoning.h"
#include "text/tool_calls.h"

namespace bellwether::gateway {

// What came of one tool call: its id and name in the first, then its arguments, as the model writes them.
struct CallDelta {
  uint32_t index = 0;  // of the choice's calls, from 0
  std::string id = {};
  std::string name = {};  // not empty: the call begins here
  std::string arguments = {};
};

struct OutputDelta {
  std::string reasoning = {};
  std::string content = {};
  std::vector<CallDelta> tool_calls = {};

  [[nodiscard]] bool empty() const { return reasoning.empty() && content.empty() && tool_calls.empty(); }
};

struct OutputOptions {
  bool splits_reasoning = false;  // chat; otherwise all is content
  bool starts_in_reasoning = false;
  bool keeps_reasoning = true;  // otherwise it is dropped
  bool parses_tool_calls = false;
  bool one_tool_call = false;  // the output ends with its first call
  bool keeps_special_tokens = false;
  bool keeps_stop = false;              // the stop string, or the token that ended the text, is a part of it
  bool is_silent = false;               // all tokens are dropped: the client asked for none
  uint32_t min_tokens = 0;              // stop strings that begin before so many are none
  std::vector<std::string> stop = {};   // strings
  std::vector<uint32_t> stop_ids = {};  // they end the text
};

// What ended a text: nothing of the client's own (the model's end, or a length), a token id, a stop string.
using StopReason = std::variant<std::monostate, uint32_t, std::string>;

// One choice's output while it arrives.
class OutputText {
 public:
  OutputText(std::shared_ptr<const ServedModel> model, const OutputOptions& options);

  // Takes the next tokens. Once it has ended early or the piece finishes the output, all that was held back comes out
  // too, and pushing more changes nothing.
  [[nodiscard]] OutputDelta push(const TokenPiece& piece);

  // By a stop string or the only tool call: what the head still generates is of no use.
  [[nodiscard]] bool ended_early() const { return stop_.stopped() || (one_tool_call_ && call_ended_); }
  [[nodiscard]] StopReason stop_reason() const;
  [[nodiscard]] uint32_t tokens() const { return tokens_; }  // taken, the one that completed a stop string included
  [[nodiscard]] uint32_t reasoning_tokens() const { return reasoning_tokens_; }  // of tokens()
  [[nodiscard]] bool called_tools() const { return called_tools_; }
  [[nodiscard]] const ServedModel& model() const { return *model_; }

 private:
  void take(OutputDelta& delta, text::TokenId id);
  void add(OutputDelta& delta, const std::string& text);
  void add_answer(OutputDelta& delta, text::AnswerPiece piece);
  void finish(OutputDelta& delta);

  std::shared_ptr<const ServedModel> model_;
  std::unordered_set<uint32_t> stop_ids_;
  text::Detokenizer detokenizer_;  // refers to *model_
  StopStrings stop_;
  std::optional<text::ReasoningSplitter> reasoning_;
  std::optional<text::ToolCallSplitter> tool_calls_;
  const bool keeps_reasoning_;
  const bool one_tool_call_;
  const bool keeps_stop_;
  const bool is_silent_;
  const uint32_t min_tokens_;
  uint32_t tokens_ = 0;
  uint32_t reasoning_tokens_ = 0;
  std::optional<uint32_t> stop_id_;  // the client's own, that ended the text
  bool called_tools_ = false;
  bool call_ended_ = false;
  bool finished_ = false;
};

}  // namespace bellwether::gateway
