// Tool calls out of a model's answer, in DeepSeek's format (reference: the chat template's own markers).
#pragma once

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
  std::string held_;
  bool in_section_ = false;
};

}  // namespace bellwether::text
