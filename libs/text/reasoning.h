// Reasoning apart from answer, while text arrives.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace bellwether::text {

// A piece of output split: either may be empty.
struct SplitText {
  std::string reasoning;
  std::string content;
};

// Splits a stream of text at <think> and </think>, which may be cut anywhere between pushes. Reasoning is what stands
// before </think>; without it, everything is reasoning. Line feeds at the start and the end of the reasoning and at the
// start of the answer belong to neither, as DeepSeek-R1 writes "<think>\n...\n</think>\n\n...".
class ReasoningSplitter {
 public:
  // `starts_inside`: the prompt opened the reasoning (Prompt::opens_reasoning). Otherwise the output is
  // reasoning only if it begins with <think>.
  explicit ReasoningSplitter(bool starts_inside);

  [[nodiscard]] SplitText push(std::string_view text);
  [[nodiscard]] SplitText finish();  // what was held back in case it became a tag

  // Inside the reasoning, as far as the text so far tells.
  [[nodiscard]] bool in_reasoning() const;

 private:
  enum class State { kStart, kReasoning, kAnswerStart, kAnswer };
  void take(char c, SplitText& out);
  void take_in_reasoning(char c, SplitText& out);
  [[nodiscard]] std::string take_held(std::string_view tag);

  State state_;
  // What is held back: line feeds that may end the reasoning, then the start of a tag.
  size_t line_feeds_ = 0;
  size_t tag_bytes_ = 0;
  bool reasoning_begun_ = false;  // a reasoning character other than a line feed has been seen
};

}  // namespace bellwether::text
