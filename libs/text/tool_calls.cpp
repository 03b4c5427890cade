#include "text/tool_calls.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "text/deepseek_markers.h"

namespace bellwether::text {
namespace {

using namespace deepseek;

// The longest end of `text` that `marker` begins with. No marker contains '<' but at its start.
size_t begun_marker(std::string_view text, std::string_view marker) {
  const size_t last = text.rfind('<');
  if (last == std::string_view::npos || !marker.starts_with(text.substr(last))) return 0;
  return text.size() - last;
}

// `call`: what stands between the markers that begin and end a call.
std::optional<ToolCall> parse_call(std::string_view call) {
  const size_t separator = call.find('<');
  if (separator == std::string_view::npos || !call.substr(separator).starts_with(kToolSep)) return std::nullopt;
  call.remove_prefix(separator + kToolSep.size());
  const size_t open = call.find(kArgumentsOpen);
  if (open == 0 || open == std::string_view::npos) return std::nullopt;
  const std::string_view name = call.substr(0, open);
  call.remove_prefix(open + kArgumentsOpen.size());
  if (!call.ends_with(kArgumentsClose)) return std::nullopt;
  call.remove_suffix(kArgumentsClose.size());
  return ToolCall{.id = {}, .name = std::string(name), .arguments = std::string(call)};
}

}  // namespace

const std::vector<std::string>& tool_call_markers() {
  static const std::vector<std::string> markers = {std::string(kToolCallsBegin), std::string(kToolCallsEnd),
                                                   std::string(kToolCallBegin), std::string(kToolCallEnd),
                                                   std::string(kToolSep)};
  return markers;
}

AnswerPiece ToolCallSplitter::push(std::string_view content) {
  AnswerPiece out;
  held_.append(content);
  while (advance(out)) {
  }
  return out;
}

AnswerPiece ToolCallSplitter::finish() {
  AnswerPiece out;
  out.content = std::exchange(held_, {});
  state_ = State::kText;
  return out;
}

// One step; false when it needs more text.
bool ToolCallSplitter::advance(AnswerPiece& out) {
  switch (state_) {
    case State::kText:
      return find_section(out);
    case State::kBetweenCalls:
      return begin_call(out);
    case State::kCall:
      return end_call(out);
  }
  return false;
}

bool ToolCallSplitter::find_section(AnswerPiece& out) {
  const size_t begin = held_.find(kToolCallsBegin);
  const bool found = begin != std::string::npos;
  const size_t certain = found ? begin : held_.size() - begun_marker(held_, kToolCallsBegin);
  out.content.append(held_, 0, certain);
  held_.erase(0, certain);
  if (!found) return false;
  state_ = State::kBetweenCalls;
  any_call_ = false;
  return true;
}

// After the marker that begins the section, or after a call.
bool ToolCallSplitter::begin_call(AnswerPiece& out) {
  std::string_view rest = held_;
  if (!any_call_) rest.remove_prefix(kToolCallsBegin.size());
  if (any_call_ && rest.starts_with(kToolCallsEnd)) {
    held_.erase(0, kToolCallsEnd.size());
    state_ = State::kText;
    return true;
  }
  if (rest.starts_with(kBetweenCalls)) rest.remove_prefix(kBetweenCalls.size());
  if (rest.starts_with(kToolCallBegin)) {
    searched_ = static_cast<size_t>(rest.data() - held_.data()) + kToolCallBegin.size();
    state_ = State::kCall;
    return true;
  }
  if (kToolCallBegin.starts_with(rest) || (any_call_ && kToolCallsEnd.starts_with(rest))) return false;
  give_up(out);
  return true;
}

bool ToolCallSplitter::end_call(AnswerPiece& out) {
  const size_t end = held_.find(kToolCallEnd, searched_);
  if (end == std::string::npos) {
    searched_ = std::max(searched_, held_.size() - begun_marker(held_, kToolCallEnd));
    return false;
  }
  const size_t begin = held_.find(kToolCallBegin) + kToolCallBegin.size();
  auto call = parse_call(std::string_view(held_).substr(begin, end - begin));
  if (!call) {
    give_up(out);
    return true;
  }
  out.tool_calls.push_back(std::move(*call));
  held_.erase(0, end + kToolCallEnd.size());
  any_call_ = true;
  state_ = State::kBetweenCalls;
  return true;
}

// What is held is no section, or no more of one. Only the marker that began it is certain to be content: another
// section may begin in the rest.
void ToolCallSplitter::give_up(AnswerPiece& out) {
  const size_t certain = any_call_ ? 0 : kToolCallsBegin.size();
  out.content.append(held_, 0, certain);
  held_.erase(0, certain);
  state_ = State::kText;
}

}  // namespace bellwether::text
