// Tool calls out of a model's answer, in DeepSeek's formats (reference: the chat templates' own markers).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat_format.h"

namespace bellwether::text {

// The markers, as text. A Detokenizer keeps them when their ids are in its kept_special_ids.
[[nodiscard]] const std::vector<std::string>& tool_call_markers();

// What came of one call: its name in the first, then its arguments, as the model writes them.
struct ToolCallDelta {
  size_t call = 0;   // which of the answer's calls, from 0
  std::string name;  // not empty: the call begins here
  std::string arguments;
  bool ends = false;  // nothing more comes of it
};

struct AnswerPiece {
  std::string content;
  std::vector<ToolCallDelta> tool_calls;  // in order
};

// Splits the answer (what ReasoningSplitter calls content) into text and tool calls while it arrives, cut anywhere. A
// call begins once its name is certain, and from then on its arguments come as they are written. What stands in a
// section of calls and is none comes out as content, unchanged: what the model wrote is never lost. A call that is cut
// off keeps the arguments it has, and does not end.
//
// Two forms of a call are read: R1's and V3's, `TYPE<sep>NAME` with the arguments in a fence, and V3.1's,
// `NAME<sep>ARGUMENTS`, where the arguments begin with a brace.
class ToolCallSplitter {
 public:
  [[nodiscard]] AnswerPiece push(std::string_view content);
  [[nodiscard]] AnswerPiece finish();

 private:
  enum class State { kText, kBetweenCalls, kHead, kArguments };
  struct Head {
    std::string name;
    size_t bytes = 0;     // of `held_`, up to the arguments
    bool fenced = false;  // the arguments end with a fence
  };
  enum class HeadState { kIncomplete, kMalformed, kComplete };

  [[nodiscard]] bool advance(AnswerPiece& out);
  [[nodiscard]] bool find_section(AnswerPiece& out);
  [[nodiscard]] bool begin_call(AnswerPiece& out);
  [[nodiscard]] bool read_head(AnswerPiece& out);
  [[nodiscard]] HeadState parse_head(Head& head) const;
  [[nodiscard]] bool read_arguments(AnswerPiece& out);
  [[nodiscard]] ToolCallDelta& delta_of(AnswerPiece& out) const;
  void add_arguments(AnswerPiece& out, size_t bytes) const;
  void give_up(AnswerPiece& out);

  State state_ = State::kText;
  std::string held_;       // text not given out: what may begin a marker, or a section from its last call on
  size_t head_begin_ = 0;  // kHead: bytes of `held_` before the call's type or name
  bool fenced_ = false;    // kArguments
  bool any_call_ = false;  // the section has had a call
  size_t calls_ = 0;       // begun, of the whole answer
};

}  // namespace bellwether::text
