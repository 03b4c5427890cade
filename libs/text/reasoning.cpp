#include "text/reasoning.h"

#include <utility>

#include "text/deepseek_markers.h"

namespace bellwether::text {

using deepseek::kThinkClose;
using deepseek::kThinkOpen;

ReasoningSplitter::ReasoningSplitter(bool starts_inside) : state_(starts_inside ? State::kReasoning : State::kStart) {}

bool ReasoningSplitter::in_reasoning() const {
  return state_ == State::kReasoning;
}

SplitText ReasoningSplitter::push(std::string_view text) {
  SplitText out;
  while (!text.empty() && state_ != State::kAnswer) {
    take(text.front(), out);
    text.remove_prefix(1);
  }
  out.content.append(text);
  return out;
}

SplitText ReasoningSplitter::finish() {
  SplitText out;
  if (state_ == State::kStart) out.content = take_held(kThinkOpen);
  // Line feeds alone end the reasoning; before the start of a tag that came to nothing they are a part of it.
  if (state_ == State::kReasoning && tag_bytes_ > 0) out.reasoning = take_held(kThinkClose);
  return out;
}

void ReasoningSplitter::take(char c, SplitText& out) {
  switch (state_) {
    case State::kStart:
      if (c == kThinkOpen[tag_bytes_]) {
        if (++tag_bytes_ < kThinkOpen.size()) return;
        tag_bytes_ = 0;
        state_ = State::kReasoning;
        return;
      }
      out.content = take_held(kThinkOpen);
      out.content.push_back(c);
      state_ = State::kAnswer;
      return;
    case State::kReasoning:
      return take_in_reasoning(c, out);
    case State::kAnswerStart:
      if (c == '\n') return;
      state_ = State::kAnswer;
      [[fallthrough]];
    case State::kAnswer:
      out.content.push_back(c);
      return;
  }
}

void ReasoningSplitter::take_in_reasoning(char c, SplitText& out) {
  if (c == kThinkClose[tag_bytes_]) {
    if (++tag_bytes_ < kThinkClose.size()) return;
    tag_bytes_ = 0;
    line_feeds_ = 0;
    state_ = State::kAnswerStart;
    return;
  }
  if (tag_bytes_ > 0) {
    // '<' occurs in the tag only as its first byte, so only `c` can begin another one.
    out.reasoning.append(take_held(kThinkClose));
    return take_in_reasoning(c, out);
  }
  if (c == '\n') {
    if (reasoning_begun_) ++line_feeds_;
    return;
  }
  out.reasoning.append(take_held(kThinkClose)).push_back(c);
  reasoning_begun_ = true;
}

// The text held back, which is a part of the output after all.
std::string ReasoningSplitter::take_held(std::string_view tag) {
  std::string held(std::exchange(line_feeds_, 0), '\n');
  held.append(tag.substr(0, std::exchange(tag_bytes_, 0)));
  reasoning_begun_ = reasoning_begun_ || !held.empty();
  return held;
}

}  // namespace bellwether::text
