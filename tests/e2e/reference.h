// What the demo model answers, computed by Hugging Face transformers (tests/data/nano/reference.json).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <boost/json/array.hpp>

namespace bellwether::e2e {

inline constexpr const char* kModel = "bellwether-nano";

struct ReferenceCase {
  boost::json::array messages;
  boost::json::array tools;
  std::string reasoning;
  std::string content;
  size_t prompt_tokens = 0;
  size_t completion_tokens = 0;

  // A chat request for it, greedy.
  [[nodiscard]] std::string request(bool stream) const;
};

[[nodiscard]] const std::vector<ReferenceCase>& reference_cases();

// A case's request, streamed, with an answer of exactly `tokens`, whatever the model would say.
[[nodiscard]] std::string endless_request(const ReferenceCase& about, int tokens);

// The case with the longest prompt, about 2,000 tokens.
[[nodiscard]] const ReferenceCase& longest_prompt();

}  // namespace bellwether::e2e
