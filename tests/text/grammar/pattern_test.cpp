#include "text/grammar/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <regex>
#include <string>

#include "text/grammar/support.h"

namespace bellwether::text::grammar {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Case {
  std::string pattern;
  std::vector<std::string> matches;
  std::vector<std::string> others;
};

TEST(Pattern, MatchesWholeTexts) {
  const std::vector<Case> cases = {
      {"", {""}, {"a"}},
      {"abc", {"abc"}, {"", "ab", "abcd", "abx"}},
      {"^abc$", {"abc"}, {"^abc$", "ab"}},
      {"a|bc|", {"a", "bc", ""}, {"b", "abc"}},
      {"(a|b)*c", {"c", "ac", "babac"}, {"", "ab", "d"}},
      {"(?:ab)+?", {"ab", "abab"}, {"", "aba"}},
      {"(?<year>\\d{4})-(?P<month>\\d\\d)", {"2024-05"}, {"202-05", "2024-5"}},
      {"a{2}", {"aa"}, {"a", "aaa"}},
      {"a{2,}", {"aa", "aaaaa"}, {"", "a"}},
      {"a{0,2}b", {"b", "ab", "aab"}, {"aaab"}},
      {"a{,2}", {"a{,2}"}, {"a", "aa"}},
      {R"(\{"a": \d+\})", {R"({"a": 17})"}, {R"({"a": })"}},
      {"{x}", {"{x}"}, {"x"}},
      {".", {"a", "é", "😀", "\t"}, {"", "\n", "\r", "\xE2\x80\xA8", "ab"}},
      {"[a-c-]", {"a", "b", "c", "-"}, {"d", ""}},
      {"[^a-c]", {"d", "é", "\n", "-"}, {"a", "b"}},
      {"[\\]\\d_]", {"]", "5", "_"}, {"[", "x"}},
      {"[[]", {"["}, {"]"}},
      {"[α-ω]+", {"αβγ", "ω"}, {"a", "Ω", ""}},
      {"[\\u0100-\\uFFFF]", {"Ā", "中", "\xEF\xBF\xBF"}, {"é", "😀"}},
      {"[^\\x00-\\u{FFFF}]", {"😀", "\xF4\x8F\xBF\xBF"}, {"é", "a", "中"}},
      {"\\uD83D\\uDE00", {"😀"}, {"😁"}},
      {"\\w\\W\\d\\D\\s\\S",
       {"a-1- x",
        "_ 0\xC2\xA0\xE3\x80\x80"
        "1"},
       {"é-1- x", "a-1-xx"}},
      {"\\t\\n\\x41\\u0042\\.\\/\\cA\\0", {std::string("\t\nAB./\x01\0", 8)}, {"AB"}},
      {"(a*)*b", {"b", "aaab"}, {"a"}},
      {"((a{1,3}){2}){2}", {"aaaa", "aaaaaaaaaaaa"}, {"aaa", "aaaaaaaaaaaaa"}},
  };
  for (const Case& each : cases) {
    const auto automaton = compiled({Regex{each.pattern}});
    for (const std::string& text : each.matches) EXPECT_TRUE(accepts(*automaton, text)) << each.pattern << " " << text;
    for (const std::string& text : each.others) EXPECT_FALSE(accepts(*automaton, text)) << each.pattern << " " << text;
  }
}

TEST(Pattern, RefusesWhatItDoesNotKnow) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"a(?=b)", "character 2: look-around"},
      {"a(?!b)", "look-around"},
      {"(?<=a)b", "look-around"},
      {"(?<!a)b", "look-around"},
      {"(?i)a", "groups of this kind"},
      {"(?>a)", "groups of this kind"},
      {"(?<name", "name is not closed"},
      {"(a)\\1", "character 4: backreferences"},
      {"\\01", "octal"},
      {"\\bword", "\\b is not supported"},
      {"\\p{L}", "\\p is not supported"},
      {"a++", "possessive"},
      {"a**", "quantified twice"},
      {"*a", "'*' repeats nothing"},
      {"a|+", "'+' repeats nothing"},
      {"(a", "character 1: the group is not closed"},
      {"a)", "character 2: closes a group"},
      {"[a", "bracket is not closed"},
      {"[]", "no characters"},
      {"[b-a]", "ends before it begins"},
      {"[\\d-z]", "between two characters"},
      {"a\\", "backslash stands at the end"},
      {"\\x4", "2 hexadecimal digits"},
      {"\\u12", "4 hexadecimal digits"},
      {"\\u{110000}", "beyond U+10FFFF"},
      {"\\uD800", "surrogate"},
      {"\\uD800\\u0041", "surrogate"},
      {"\\c1", "needs a letter"},
      {"a{3,2}", "maximum is less"},
      {"a{10001}", "more than 10000"},
      {"a(^b)", "^ and $ are only supported"},
      {"(a$)b", "^ and $ are only supported"},
      {"a$b", "^ and $ are only supported"},
      {"\xFF", "not valid UTF-8"},
      {std::string(100, '(') + std::string(100, ')'), "nested more than 64 deep"},
  };
  for (const auto& [pattern, complaint] : cases) {
    EXPECT_THAT(refusal({Regex{pattern}}), HasSubstr(complaint)) << pattern;
  }
}

TEST(Pattern, SizeHasLimits) {
  EXPECT_THAT(refusal({Regex{"(((a{1000}){1000}){1000}){1000}"}}), StartsWith("is too large"));
  EXPECT_THAT(refusal({Regex{"((((){1000}){1000}){1000}){1000}"}}), StartsWith("is too large"));
  EXPECT_THAT(refusal({Regex{"(a|b)*a(a|b){30}"}}), StartsWith("is too"));  // 2^31 states when deterministic
  EXPECT_THAT(refusal({Regex{std::string(300'000, 'a')}}), HasSubstr("has 300000 bytes"));
}

// A pattern over few letters, in which everything can be nested in everything.
std::string random_pattern(std::mt19937_64& random, int depth) {
  const auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
  if (depth == 0) {
    const std::vector<std::string> atoms = {"a", "b", "c", ".", "[ab]", "[^a]", "\\d", "\\w", "[^\\w]", "1"};
    return atoms[static_cast<size_t>(below(static_cast<int>(atoms.size())))];
  }
  switch (below(5)) {
    case 0:
      return random_pattern(random, depth - 1) + random_pattern(random, depth - 1);
    case 1:
      return "(" + random_pattern(random, depth - 1) + "|" + random_pattern(random, depth - 1) + ")";
    case 2: {
      const std::vector<std::string> counts = {"*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"};
      return "(?:" + random_pattern(random, depth - 1) + ")" + counts[static_cast<size_t>(below(7))];
    }
    case 3:
      return "(" + random_pattern(random, depth - 1) + ")";
    default:
      return random_pattern(random, 0) + random_pattern(random, depth - 1);
  }
}

TEST(Pattern, AgreesWithTheStandardLibraryOnRandomPatternsAndTexts) {
  std::mt19937_64 random(20251125);
  const std::string letters = "abc1_ -";
  int matched = 0;
  for (int i = 0; i < 400; ++i) {
    const std::string pattern = random_pattern(random, 4);
    const std::regex expected(pattern, std::regex::ECMAScript);
    const auto automaton = compiled({Regex{pattern}});
    for (int j = 0; j < 40; ++j) {
      std::string text(std::uniform_int_distribution<size_t>(0, 8)(random), ' ');
      for (char& c : text) c = letters[std::uniform_int_distribution<size_t>(0, letters.size() - 1)(random)];
      const bool matches = std::regex_match(text, expected);
      matched += static_cast<int>(matches);
      ASSERT_EQ(accepts(*automaton, text), matches) << pattern << " on " << text;
    }
  }
  EXPECT_GT(matched, 1000);
}

TEST(CodePoints, AreASet) {
  CodePoints set;
  set.add(10, 20);
  set.add(30, 40);
  set.add(21, 29);
  EXPECT_EQ(set.ranges(), (std::vector<CodePoints::Range>{{10, 40}}));
  set.add(0xD000, 0xE000);
  EXPECT_EQ(set.ranges(), (std::vector<CodePoints::Range>{{10, 40}, {0xD000, 0xD7FF}, {0xE000, 0xE000}}));
  set.add(0xD900, 0xDA00);
  EXPECT_EQ(set.ranges().size(), 3U);
  EXPECT_EQ(set.complement().complement().ranges(), set.ranges());
  EXPECT_EQ(CodePoints::all().complement().ranges().size(), 0U);
  CodePoints other;
  other.add(15, 35);
  EXPECT_EQ(set.within(other).ranges(), (std::vector<CodePoints::Range>{{15, 35}}));
  EXPECT_EQ(set.without(other).ranges()[0], (CodePoints::Range{10, 14}));
}

// Every character's UTF-8 against a set's bytes, at the borders of its ranges and of UTF-8's lengths.
TEST(CodePoints, AreWrittenAsUtf8) {
  const auto utf8 = [](uint32_t c) {
    std::string bytes;
    if (c < 0x80) {
      bytes += static_cast<char>(c);
    } else if (c < 0x800) {
      bytes += static_cast<char>(0xC0 | c >> 6);
    } else if (c < 0x10000) {
      bytes += static_cast<char>(0xE0 | c >> 12);
    } else {
      bytes += static_cast<char>(0xF0 | c >> 18);
      bytes += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    }
    if (c >= 0x800) bytes += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    if (c >= 0x80) bytes += static_cast<char>(0x80 | (c & 0x3F));
    return bytes;
  };
  std::mt19937_64 random(1);
  for (int i = 0; i < 200; ++i) {
    CodePoints set;
    std::vector<uint32_t> borders = {0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, CodePoints::kLast};
    for (int j = 0; j < 3; ++j) {
      const uint32_t top = 0x80U << std::uniform_int_distribution<uint32_t>(0, 14)(random);
      uint32_t first = std::uniform_int_distribution<uint32_t>(0, std::min(top, CodePoints::kLast))(random);
      uint32_t last = std::uniform_int_distribution<uint32_t>(0, std::min(top, CodePoints::kLast))(random);
      if (first > last) std::swap(first, last);
      set.add(first, last);
      borders.insert(borders.end(), {first, last, first + 1, last + 1, first - 1, last - 1, (first + last) / 2});
    }
    Budget budget({});
    Nfa nfa(budget);
    add_character(nfa, nfa.first_of(0), set, Writing::kPlain, nfa.last_of(0));
    if (set.empty()) continue;  // surrogates only
    const Automaton automaton(nfa);
    for (const uint32_t c : borders) {
      if (c > CodePoints::kLast || (c >= 0xD800 && c <= 0xDFFF)) continue;
      const bool is_in = std::ranges::any_of(
          set.ranges(), [&](const CodePoints::Range& range) { return range.first <= c && c <= range.last; });
      ASSERT_EQ(accepts(automaton, utf8(c)), is_in) << c;
    }
    for (const std::string_view wrong : {"\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\x80", "\xE0\x80\x80"}) {
      ASSERT_FALSE(accepts(automaton, wrong));
    }
  }
}

}  // namespace
}  // namespace bellwether::text::grammar
