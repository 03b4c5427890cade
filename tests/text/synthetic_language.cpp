#include "text/synthetic_language.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <set>
#include <string_view>
#include <utility>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace bellwether::text {
namespace {

namespace json = boost::json;

std::string utf8_of(uint32_t code_point) {
  if (code_point < 0x80) return {static_cast<char>(code_point)};
  if (code_point < 0x800) {
    return {static_cast<char>(0xC0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3F))};
  }
  return {static_cast<char>(0xE0 | code_point >> 12), static_cast<char>(0x80 | (code_point >> 6 & 0x3F)),
          static_cast<char>(0x80 | (code_point & 0x3F))};
}

// A byte as tokenizer.json writes it.
std::vector<std::string> byte_alphabet() {
  std::vector<std::string> alphabet;
  uint32_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
    alphabet.push_back(utf8_of(printable ? byte : next++));
  }
  return alphabet;
}

std::string make_word(std::mt19937_64& random) {
  static constexpr std::string_view kConsonants = "bcdfghjklmnprstvwz";
  static constexpr std::string_view kVowels = "aeiou";
  std::string word;
  for (uint64_t syllables = 1 + random() % 4; syllables > 0; --syllables) {
    word.push_back(kConsonants[random() % kConsonants.size()]);
    word.push_back(kVowels[random() % kVowels.size()]);
    if (random() % 3 == 0) word.push_back(kConsonants[random() % kConsonants.size()]);
  }
  return word;
}

// Merges that make one token of each word, learned in the words' order.
class MergeMaker {
 public:
  explicit MergeMaker(size_t tokens_max) : tokens_max_(tokens_max) {
    for (const std::string& byte : alphabet_) vocabulary_[byte] = vocabulary_.size();
  }

  [[nodiscard]] bool full() const { return vocabulary_.size() >= tokens_max_; }

  void learn(std::string_view word) {
    std::vector<std::string> parts;
    for (const char byte : word) parts.push_back(alphabet_[static_cast<uint8_t>(byte)]);
    while (merge_best(parts)) {
    }
    while (parts.size() > 1 && !full()) {
      merges_.push_back(json::array({parts[0], parts[1]}));
      ranks_.emplace(std::pair(parts[0], parts[1]), ranks_.size());
      vocabulary_.emplace(parts[0] + parts[1], vocabulary_.size());
      parts[0] += parts[1];
      parts.erase(parts.begin() + 1);
    }
  }

  [[nodiscard]] json::object model() const {
    json::object vocabulary;
    for (const auto& [token, id] : vocabulary_) vocabulary[token] = id;
    return {{"type", "BPE"}, {"vocab", std::move(vocabulary)}, {"merges", merges_}};
  }

 private:
  bool merge_best(std::vector<std::string>& parts) const {
    size_t best_rank = ranks_.size();
    size_t best = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto rank = ranks_.find(std::pair(parts[i], parts[i + 1]));
      if (rank == ranks_.end() || rank->second >= best_rank) continue;
      best_rank = rank->second;
      best = i;
    }
    if (best_rank == ranks_.size()) return false;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    return true;
  }

  const std::vector<std::string> alphabet_ = byte_alphabet();
  size_t tokens_max_;
  std::map<std::string, size_t> vocabulary_;
  std::map<std::pair<std::string, std::string>, size_t> ranks_;
  json::array merges_;
};

}  // namespace

SyntheticLanguage::SyntheticLanguage(size_t words, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::set<std::string> known;
  while (words_.size() < words) {
    std::string word = make_word(random);
    if (known.insert(word).second) words_.push_back(std::move(word));
  }
  // Short words are the frequent ones.
  std::sort(words_.begin(), words_.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  });
}

std::string SyntheticLanguage::text(size_t bytes, uint64_t seed) const {
  static constexpr std::string_view kChinese[] = {"的", "一", "是", "法国的首都", "人工智能", "你好"};
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> fraction;
  std::string text;
  text.reserve(bytes + 64);
  while (text.size() < bytes) {
    const auto rank = static_cast<size_t>(std::pow(static_cast<double>(words_.size()), fraction(random))) - 1;
    text.append(words_[std::min(rank, words_.size() - 1)]);
    const uint64_t kind = random() % 64;
    if (kind < 4) text.append(kind == 0 ? ".\n" : ",");
    if (kind == 4) text.append(fmt::format(" {}", random() % 10000));
    if (kind == 5) text.append(kChinese[random() % std::size(kChinese)]);
    text.push_back(' ');
  }
  return text;
}

std::string SyntheticLanguage::tokenizer_json(size_t tokens_max) const {
  MergeMaker maker(tokens_max);
  for (const std::string_view text : {"的", "一", "是", "你好"}) maker.learn(text);
  for (const std::string& word : words_) {
    if (maker.full()) break;
    maker.learn(' ' + word);
  }
  json::object file;
  file["added_tokens"] = json::array();
  file["normalizer"] = nullptr;
  file["pre_tokenizer"] = json::parse(deepseek_pretokenizer_json());
  file["decoder"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  file["model"] = maker.model();
  return json::serialize(file);
}

std::string deepseek_pretokenizer_json() {
  static constexpr std::string_view kPatterns[] = {
      R"(\p{N}{1,3})",
      "[一-龥\u3040-ゟ゠-ヿ]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
      " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
  };
  json::array steps;
  for (const std::string_view pattern : kPatterns) {
    steps.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  }
  steps.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}});
  return json::serialize(json::object({{"type", "Sequence"}, {"pretokenizers", steps}}));
}

}  // namespace bellwether::text
