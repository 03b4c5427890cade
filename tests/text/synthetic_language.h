// A made-up language with a tokenizer of any size, where the real files are too large to keep.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bellwether::text {

class SyntheticLanguage {
 public:
  SyntheticLanguage(size_t words, uint64_t seed);

  // Prose: the earlier a word of the lexicon, the more frequent (Zipf), with digits, punctuation, lines and Chinese.
  [[nodiscard]] std::string text(size_t bytes, uint64_t seed) const;

  // tokenizer.json with DeepSeek-R1's pre-tokenizer and at most so many tokens, of which the words take what they need.
  [[nodiscard]] std::string tokenizer_json(size_t tokens_max) const;

 private:
  std::vector<std::string> words_;
};

// DeepSeek-R1's pre-tokenizer, as the member of its tokenizer.json.
[[nodiscard]] std::string deepseek_pretokenizer_json();

}  // namespace bellwether::text
