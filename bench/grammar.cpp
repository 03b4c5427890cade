// Token masks of grammars on a vocabulary of DeepSeek-R1's size, beside the copy of a mask. One line for each
// constraint: compiling it; then what a token costs (its mask, and reading it) when nothing is kept yet, and once all
// is.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "text/grammar/constraint.h"
#include "text/grammar/matcher.h"

namespace {

using namespace bellwether::text;
using namespace bellwether::text::grammar;

constexpr size_t kTokens = 129'280;
constexpr int kRounds = 200;

double us_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

double part(std::vector<double> sorted, double fraction) {
  std::ranges::sort(sorted);
  return sorted[std::min(sorted.size() - 1, static_cast<size_t>(fraction * static_cast<double>(sorted.size())))];
}

// Bytes, words with and without a space before them, numbers, blanks, Chinese, and the mixtures of punctuation, blanks
// and words' ends that byte-pair encoding makes of program text and JSON.
std::vector<std::string> make_tokens() {
  std::mt19937_64 random(1);
  std::set<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.insert(std::string(1, static_cast<char>(byte)));
  for (size_t length = 2; length <= 128; length += length < 24 ? 1 : 8) {
    for (const char blank : {' ', '\n', '\t', '=', '-', '*'}) tokens.insert(std::string(length, blank));
    tokens.insert("\n" + std::string(length, ' '));
  }
  for (int number = 0; number < 1000; ++number) tokens.insert(std::to_string(number));
  const std::vector<std::string> marks = {"\"", "'", ",", ":", "{",  "}",  "[", "]", "(",
                                          ")",  ";", ".", " ", "\n", "\\", "/", "_", "-"};
  const auto mark = [&] { return marks[random() % marks.size()]; };
  while (tokens.size() < 6'000) {
    std::string token = mark() + mark();
    while (random() % 2 == 0) token += mark();
    tokens.insert(token);
  }
  const auto word = [&] {
    static const std::vector<std::string> syllables = {"ba", "ne",  "ri",  "to", "lu", "sha", "ing",
                                                       "er", "con", "pre", "st", "qu", "al",  "en"};
    std::string word;
    for (size_t i = 1 + random() % 4; i > 0; --i) word += syllables[random() % syllables.size()];
    if (random() % 8 == 0) word[0] = static_cast<char>(word[0] - 'a' + 'A');
    return word;
  };
  while (tokens.size() < 100'000) {
    std::string token = word();
    const auto kind = random() % 16;
    if (kind < 8) token = " " + token;
    if (kind == 8) token = mark() + token;
    if (kind == 9) token += mark();
    if (kind == 10) token = "\"" + token;
    if (kind == 11) token = "é" + token;
    tokens.insert(token);
  }
  while (tokens.size() < kTokens) {
    std::string token;
    for (size_t i = 1 + random() % 4; i > 0; --i) {
      const auto c = static_cast<uint32_t>(0x4E00 + random() % 0x5000);
      token += {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3F)),
                static_cast<char>(0x80 | (c & 0x3F))};
    }
    tokens.insert(token);
  }
  std::vector<std::string> list(tokens.begin(), tokens.end());
  std::ranges::shuffle(list, random);
  return list;
}

// The longest token first, again and again.
std::vector<TokenId> encode(const std::map<std::string, TokenId>& ids, std::string_view text) {
  std::vector<TokenId> encoded;
  while (!text.empty()) {
    size_t length = std::min<size_t>(text.size(), 128);
    while (!ids.contains(std::string(text.substr(0, length)))) --length;
    encoded.push_back(ids.at(std::string(text.substr(0, length))));
    text.remove_prefix(length);
  }
  return encoded;
}

struct Task {
  const char* name;
  Constraint constraint;
  std::string text;  // one that it allows
};

std::string repeated(std::string_view text, size_t times) {
  std::string all;
  for (size_t i = 0; i < times; ++i) all += text;
  return all;
}

std::vector<Task> make_tasks() {
  const std::string person =
      R"({"name": "concon steralba", "age": 47, "email": "torisha@bane.com", "tags": ["baner, tolu", "ri: \"shaing\""]})";
  const std::string schema =
      R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0,"maximum":150},
          "email":{"type":"string","format":"email"},"tags":{"type":"array","items":{"type":"string"}}},
          "required":["name","age"],"additionalProperties":false})";
  const std::string people = R"({"type":"array","items":{"$ref":"#/$defs/p"},"$defs":{"p":)" + schema + "}}";
  return {
      {"json_object", {AnyJsonObject{}}, R"({"people": [)" + repeated(person + ", ", 10) + person + "]}"},
      {"schema", {JsonSchema{schema}}, person},
      {"schema with $ref", {JsonSchema{people}}, "[" + repeated(person + ", ", 10) + person + "]"},
      {"maxLength 2000",
       {JsonSchema{R"({"type":"string","maxLength":2000})"}},
       "\"" + repeated("baneri tolu, shaing con. ", 40) + "\""},
      {"regex", {Regex{R"((\w+ ){1,100}on \d{4}-\d\d-\d\d)"}}, "baneri tolu shaing con on 2025-11-25"},
      {"choice", {Choice{{"positive", "negative", "neutral", "not applicable"}}}, "not applicable"},
      {"EBNF",
       {Ebnf{"root ::= sum\nsum ::= sum (\"+\" | \"-\") product | product\nproduct ::= product (\"*\" | \"/\") atom | "
             "atom\n"
             "atom ::= [0-9]+ (\".\" [0-9]+)? | [a-z]+ (\"(\" sum (\", \" sum)* \")\")? | \"(\" sum \")\""}},
       repeated("(12.5+con(baneri, 4*tolu))*(7-ing)/", 10) + "1"},
      {"tools",
       {.calls = ToolCallGrammar{.functions = {{"save", schema}, {"find", ""}}}},
       "\xFF<｜tool▁calls▁begin｜>\xFF<｜tool▁call▁begin｜>function\xFF<｜tool▁sep｜>save\n```json\n" + person +
           "\n```\xFF<｜tool▁call▁end｜>\xFF<｜tool▁calls▁end｜>"},
  };
}

void run(const Task& task, const std::shared_ptr<const Vocabulary>& vocabulary,
         const std::map<std::string, TokenId>& ids, TokenId end_id) {
  const auto begin = std::chrono::steady_clock::now();
  const auto automaton =
      compile(task.constraint, {}, [&](std::string_view marker) { return vocabulary->has_marker(marker); });
  const double compile_ms = us_since(begin) / 1000;
  const auto masks = std::make_shared<TokenMasks>(automaton, vocabulary);
  const std::vector<TokenId> text = encode(ids, task.text);
  std::vector<double> cold;
  std::vector<double> warm;
  bool right = true;
  std::vector<uint64_t> allowed(vocabulary->mask_words());
  for (int round = 0; round <= kRounds; ++round) {
    Matcher matcher(masks, {end_id});
    for (const TokenId id : text) {
      std::ranges::fill(allowed, 0);
      const auto token_begin = std::chrono::steady_clock::now();
      matcher.fill_allowed(allowed);
      matcher.accept(id);
      (round == 0 ? cold : warm).push_back(us_since(token_begin));
      right = right && (allowed[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0;
    }
    right = right && matcher.may_end() && !matcher.is_broken();
  }
  fmt::print("{:<17} {:>8.1f} {:>7} | {:>9.1f} {:>9.1f} | {:>7.2f} {:>7.2f} {:>8.2f} | {:>5} {:>6.1f}{}\n", task.name,
             compile_ms, text.size(), part(cold, 0.5), part(cold, 0.99), part(warm, 0.5), part(warm, 0.99),
             part(warm, 1), masks->computed(), static_cast<double>(masks->bytes()) / 1e6, right ? "" : "  WRONG");
}

}  // namespace

int main() {
  std::vector<std::string> tokens = make_tokens();
  const auto end_id = static_cast<TokenId>(tokens.size());
  tokens.push_back("\xFF<end>");
  for (const char* marker : {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>",
                             "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"}) {
    tokens.push_back(std::string("\xFF") + marker);
  }
  std::map<std::string, TokenId> ids;
  for (size_t i = 0; i < tokens.size(); ++i) ids.emplace(tokens[i], static_cast<TokenId>(i));
  const auto begin = std::chrono::steady_clock::now();
  const auto vocabulary = std::make_shared<const Vocabulary>(std::move(tokens));
  fmt::print("vocabulary of {} tokens, {} nodes, made in {:.0f} ms\n", vocabulary->size(),
             vocabulary->short_tokens().nodes().size() + vocabulary->long_tokens().nodes().size(),
             us_since(begin) / 1000);
  std::vector<uint64_t> from(vocabulary->mask_words(), 1);
  std::vector<uint64_t> to(from.size());
  std::vector<double> copies;
  for (int i = 0; i < 10'000; ++i) {
    const auto copy_begin = std::chrono::steady_clock::now();
    std::memcpy(to.data(), from.data(), from.size() * sizeof(uint64_t));
    copies.push_back(us_since(copy_begin));
    from[static_cast<size_t>(i) % from.size()] += to[0];
  }
  fmt::print("{:<17} {:>8} {:>7} | {:>9} {:>9} | {:>7} {:>7} {:>8} | {:>5} {:>6}\n", "", "compile", "tokens",
             "cold p50", "cold p99", "p50", "p99", "max", "masks", "");
  fmt::print("{:<17} {:>8} {:>7} | {:>9} {:>9} | {:>7} {:>7} {:>8} | {:>5} {:>6}\n", "", "ms", "", "us", "us", "us",
             "us", "us", "", "MB");
  fmt::print("{:<17} {:>8} {:>7} | {:>9} {:>9} | {:>7.2f} {:>7.2f} {:>8.2f} |\n", "limit: copy", "", "", "", "",
             part(copies, 0.5), part(copies, 0.99), part(copies, 1));
  for (const Task& task : make_tasks()) run(task, vocabulary, ids, end_id);
  return 0;
}
