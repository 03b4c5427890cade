// Any text, cut anywhere: the splitters of reasoning and of tool calls give what they give of the whole.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "text/reasoning.h"
#include "text/tool_calls.h"

namespace {

using namespace bellwether::text;

// What all three make of an answer, as one text.
std::string outcome_of(std::string_view text, size_t part_bytes, bool starts_inside) {
  ReasoningSplitter reasoning(starts_inside);
  ToolCallSplitter calls;
  SplitText split;
  std::string content;
  std::string called;
  const auto add = [&](const AnswerPiece& piece) {
    content += piece.content;
    for (const ToolCallDelta& delta : piece.tool_calls) {
      if (!delta.name.empty()) called += '\0' + delta.name + '\0';
      called += delta.arguments;
      if (delta.ends) called += '\0';
    }
  };
  for (; !text.empty(); text.remove_prefix(std::min(part_bytes, text.size()))) {
    const SplitText piece = reasoning.push(text.substr(0, part_bytes));
    split.reasoning += piece.reasoning;
    add(calls.push(piece.content));
  }
  const SplitText rest = reasoning.finish();
  add(calls.push(rest.content));
  add(calls.finish());
  return split.reasoning + rest.reasoning + '\0' + content + '\0' + called;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const bool starts_inside = (data[0] & 1) != 0;
  const size_t part_bytes = 1 + (data[0] >> 1);
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  if (outcome_of(text, part_bytes, starts_inside) != outcome_of(text, text.size() + 1, starts_inside)) std::abort();
  return 0;
}
