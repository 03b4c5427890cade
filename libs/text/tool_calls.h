// Tool calls out of a model's answer, in DeepSeek's format (reference: the chat template's own markers).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat_format.h"

namespace bellwether::text {

// The markers, as text. A Detokenizer keeps them when their ids are in its kept_special_ids.
[[nodiscard]] const std::vector<std::string>& tool_call_markers();

struct AnswerPiece {
  std::string content;
  std::vector<ToolCall> tool_calls;  // calls completed by this piece; ids are empty, the caller gives them
};

// Splits the answer (what ReasoningSplitter calls content) into text and tool calls while it arrives, cut anywhere. A
// call appears when it is complete. A call section that is malformed or cut off comes out as content, unchanged: what
// the model wrote is never lost.
class ToolCallSplitter {
 public:
  [[nodiscard]] AnswerPiece push(std::string_view content);
  [[nodiscard]] AnswerPiece finish();

 private:
  enum class State { kText, kBetweenCalls, kCall };
  [[nodiscard]] bool advance(AnswerPiece& out);
  [[nodiscard]] bool find_section(AnswerPiece& out);
  [[nodiscard]] bool begin_call(AnswerPiece& out);
  [[nodiscard]] bool end_call(AnswerPiece& out);
  void give_up(AnswerPiece& out);

  State state_ = State::kText;
  std::string held_;       // text not given out: what may begin a marker, or a section from its last complete call on
  size_t searched_ = 0;    // bytes of `held_` that do not begin the marker which ends the call
  bool any_call_ = false;  // the section has had a complete call
};

}  // namespace bellwether::text
