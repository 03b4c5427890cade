#include "text/tool_calls.h"

#include <algorithm>
#include <utility>

#include "text/deepseek_markers.h"

namespace bellwether::text {
namespace {

using namespace deepseek;

constexpr size_t kNameBytesMax = 256;

const std::string kFencedEnd = std::string(kArgumentsClose) + std::string(kToolCallEnd);

// The longest end of `text` that `marker` begins with. No marker contains '<' but at its start.
size_t begun_marker(std::string_view text, std::string_view marker) {
  const size_t last = text.rfind('<');
  if (last == std::string_view::npos || !marker.starts_with(text.substr(last))) return 0;
  return text.size() - last;
}

// The longest end of `text` with which the end of a call's arguments may begin.
size_t begun_end(std::string_view text, bool fenced) {
  const size_t marker = begun_marker(text, kToolCallEnd);
  if (!fenced) return marker;
  // The only line feed of the end is its first byte.
  const size_t last = text.rfind('\n');
  if (last == std::string_view::npos || !std::string_view(kFencedEnd).starts_with(text.substr(last))) return marker;
  return text.size() - last;
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
  if (state_ == State::kArguments) {
    const bool closed = fenced_ && held_.starts_with(kArgumentsClose);
    if (!closed) add_arguments(out, held_.size());
  } else {
    out.content = held_;
  }
  held_.clear();
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
    case State::kHead:
      return read_head(out);
    case State::kArguments:
      return read_arguments(out);
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
    head_begin_ = static_cast<size_t>(rest.data() - held_.data()) + kToolCallBegin.size();
    state_ = State::kHead;
    return true;
  }
  if (kToolCallBegin.starts_with(rest) || (any_call_ && kToolCallsEnd.starts_with(rest))) return false;
  give_up(out);
  return true;
}

bool ToolCallSplitter::read_head(AnswerPiece& out) {
  Head head;
  switch (parse_head(head)) {
    case HeadState::kIncomplete:
      return false;
    case HeadState::kMalformed:
      give_up(out);
      return true;
    case HeadState::kComplete:
      break;
  }
  out.tool_calls.push_back({.call = calls_++, .name = std::move(head.name), .arguments = {}});
  held_.erase(0, head.bytes);
  fenced_ = head.fenced;
  any_call_ = true;
  state_ = State::kArguments;
  return true;
}

ToolCallSplitter::HeadState ToolCallSplitter::parse_head(Head& head) const {
  const std::string_view text = std::string_view(held_).substr(head_begin_);
  // A name that is too long is none, whether its end has come or not.
  const size_t separator = std::min(text.find('<'), text.size());
  if (separator > kNameBytesMax) return HeadState::kMalformed;
  if (separator == text.size()) return HeadState::kIncomplete;
  const std::string_view marker = text.substr(separator, kToolSep.size());
  if (marker != kToolSep) return kToolSep.starts_with(marker) ? HeadState::kIncomplete : HeadState::kMalformed;
  const std::string_view after = text.substr(separator + kToolSep.size());
  const size_t after_begin = head_begin_ + separator + kToolSep.size();
  if (after.starts_with('{') && separator > 0) {
    head = {.name = std::string(text.substr(0, separator)), .bytes = after_begin, .fenced = false};
    return HeadState::kComplete;
  }
  const size_t name_end = std::min(after.find_first_of("\n<"), after.size());
  if (name_end > kNameBytesMax) return HeadState::kMalformed;
  if (name_end == after.size()) return HeadState::kIncomplete;
  const std::string_view open = after.substr(name_end, kArgumentsOpen.size());
  if (name_end == 0 || !kArgumentsOpen.starts_with(open)) return HeadState::kMalformed;
  if (open != kArgumentsOpen) return HeadState::kIncomplete;
  head = {.name = std::string(after.substr(0, name_end)),
          .bytes = after_begin + name_end + kArgumentsOpen.size(),
          .fenced = true};
  return HeadState::kComplete;
}

bool ToolCallSplitter::read_arguments(AnswerPiece& out) {
  const size_t end = held_.find(kToolCallEnd);
  if (end == std::string::npos) {
    const size_t certain = held_.size() - begun_end(held_, fenced_);
    add_arguments(out, certain);
    held_.erase(0, certain);
    return false;
  }
  const bool closed = fenced_ && std::string_view(held_).substr(0, end).ends_with(kArgumentsClose);
  add_arguments(out, closed ? end - kArgumentsClose.size() : end);
  held_.erase(0, end + kToolCallEnd.size());
  state_ = State::kBetweenCalls;
  delta_of(out).ends = true;
  return true;
}

// Of the call that is being read. Its name may have come in the same piece.
ToolCallDelta& ToolCallSplitter::delta_of(AnswerPiece& out) const {
  if (out.tool_calls.empty() || out.tool_calls.back().call + 1 != calls_) {
    out.tool_calls.push_back({.call = calls_ - 1, .name = {}, .arguments = {}});
  }
  return out.tool_calls.back();
}

// The first `bytes` of what is held.
void ToolCallSplitter::add_arguments(AnswerPiece& out, size_t bytes) const {
  if (bytes > 0) delta_of(out).arguments.append(held_, 0, bytes);
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
