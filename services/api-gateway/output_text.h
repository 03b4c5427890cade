// From token ids to what the client reads: text up to a stop string, reasoning apart from answer, tool calls.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "api-gateway/served_model.h"
#include "api-gateway/stop_strings.h"
#include "api-gateway/token_order.h"
#include "text/detokenizer.h"
#include "text/reasoning.h"
#include "text/tool_calls.h"

namespace bellwether::gateway {

struct OutputDelta {
  std::string reasoning = {};
  std::string content = {};
  std::vector<text::ToolCall> tool_calls = {};  // with their ids

  [[nodiscard]] bool empty() const { return reasoning.empty() && content.empty() && tool_calls.empty(); }
};

struct OutputOptions {
  bool splits_reasoning = false;  // chat; otherwise all is content
  bool starts_in_reasoning = false;
  bool parses_tool_calls = false;
  std::vector<std::string> stop = {};   // strings
  std::vector<uint32_t> stop_ids = {};  // left out of the text when they end it
};

// One request's output while it arrives.
class OutputText {
 public:
  OutputText(std::shared_ptr<const ServedModel> model, OutputOptions options);

  // Takes the next tokens. Once a stop string is found or the piece finishes the output, all that was held back comes
  // out too, and pushing more changes nothing.
  [[nodiscard]] OutputDelta push(const TokenPiece& piece);

  [[nodiscard]] bool stopped_by_string() const { return stop_.stopped(); }
  [[nodiscard]] uint32_t tokens() const { return tokens_; }  // taken, the one that completed a stop string included
  [[nodiscard]] bool called_tools() const { return called_tools_; }
  [[nodiscard]] const ServedModel& model() const { return *model_; }

 private:
  void add(OutputDelta& delta, const std::string& text);
  void add_answer(OutputDelta& delta, text::AnswerPiece piece);
  void finish(OutputDelta& delta);

  std::shared_ptr<const ServedModel> model_;
  std::unordered_set<uint32_t> stop_ids_;
  text::Detokenizer detokenizer_;  // refers to *model_
  StopStrings stop_;
  std::optional<text::ReasoningSplitter> reasoning_;
  std::optional<text::ToolCallSplitter> tool_calls_;
  uint32_t tokens_ = 0;
  bool called_tools_ = false;
  bool finished_ = false;
};

}  // namespace bellwether::gateway
