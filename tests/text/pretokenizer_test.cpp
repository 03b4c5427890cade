#include "text/pretokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include <boost/json/parse.hpp>

#include "text/onig_pattern.h"
#include "text/support.h"
#include "text/synthetic_language.h"

namespace bellwether::text {
namespace {

namespace json = boost::json;

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::vector<std::string> pieces_of(const PreTokenizer& pretokenizer, std::string_view text) {
  std::vector<std::string_view> pieces;
  pretokenizer.split(text, pieces);
  return {pieces.begin(), pieces.end()};
}

std::vector<std::string> deepseek_pieces(std::string_view text) {
  static const PreTokenizer pretokenizer(json::parse(deepseek_pretokenizer_json()));
  return pieces_of(pretokenizer, text);
}

PreTokenizer split_at(std::string_view kind, std::string_view pattern) {
  const json::object split = {
      {"type", "Split"}, {"pattern", {{kind, pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  const json::object bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  return PreTokenizer(json::object{{"type", "Sequence"}, {"pretokenizers", {split, bytes}}});
}

void expect_refused(std::string_view description, const std::string& reason) {
  EXPECT_THAT([&] { PreTokenizer(json::parse(description)); }, ThrowsMessage<TextError>(HasSubstr(reason)));
}

TEST(PreTokenizer, DeepSeekPatternsAreTheDemoModels) {
  const json::value file = json::parse(read_whole_file(BELLWETHER_DEMO_MODEL "/tokenizer.json"));
  const json::value ours = json::parse(deepseek_pretokenizer_json());
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(ours.at("pretokenizers").as_array().at(i), file.at("pre_tokenizer").at("pretokenizers").as_array().at(i));
  }
}

// The pieces behind DeepSeek-V3's published ids of this text.
TEST(PreTokenizer, DeepSeekSplitsItsGoldenText) {
  EXPECT_THAT(
      deepseek_pieces("Hello! 毕老师！1 + 1 = 2 ĠÑĤÐ²ÑĬÑĢ"),
      ElementsAre("Hello", "!", " ", "毕老师", "！", "1", " +", " ", "1", " =", " ", "2", " ĠÑĤÐ", "²", "ÑĬÑĢ"));
  EXPECT_THAT(deepseek_pieces("你是谁？"), ElementsAre("你是谁", "？"));
}

TEST(PreTokenizer, DeepSeekSplitsNumbersLinesAndContractions) {
  EXPECT_THAT(deepseek_pieces("1234567"), ElementsAre("123", "456", "7"));
  EXPECT_THAT(deepseek_pieces("I've done"), ElementsAre("I", "'ve", " done"));
  EXPECT_THAT(deepseek_pieces("a  b   c"), ElementsAre("a", " ", " b", "  ", " c"));
  EXPECT_THAT(deepseek_pieces("end.\r\n\r\n  next"), ElementsAre("end", ".\r\n\r\n", " ", " next"));
  EXPECT_THAT(deepseek_pieces("   \n\n x"), ElementsAre("   \n\n", " x"));
  EXPECT_THAT(deepseek_pieces("x_y (z)"), ElementsAre("x", "_y", " (", "z", ")"));
  EXPECT_THAT(deepseek_pieces("trailing  "), ElementsAre("trailing", "  "));
  EXPECT_THAT(deepseek_pieces(""), ElementsAre());
}

// A lookahead sees the end of its piece, not what another step has cut off there.
TEST(PreTokenizer, StepsSeeOnlyTheirPiece) {
  EXPECT_THAT(deepseek_pieces("a  1"), ElementsAre("a", "  ", "1"));
  EXPECT_THAT(deepseek_pieces("a  b"), ElementsAre("a", " ", " b"));
}

TEST(PreTokenizer, SpaceIsUnicodesWhiteSpace) {
  for (const char* const space : {"\t", "\v", "\f", " ", "\u0085", "\u00A0", "\u1680", "\u2000", "\u200A", "\u2028",
                                  "\u2029", "\u202F", "\u205F", "\u3000"}) {
    EXPECT_THAT(pieces_of(split_at("Regex", R"(\s)"), "a" + std::string(space) + "b"), ElementsAre("a", space, "b"));
    EXPECT_THAT(pieces_of(split_at("Regex", R"([^\S]+)"), "a" + std::string(space)), ElementsAre("a", space));
    EXPECT_THAT(pieces_of(split_at("Regex", R"(\S+)"), "a" + std::string(space)), ElementsAre("a", space));
  }
  for (const char* const other : {"\u180E", "\u200B", "\x1C", "\x1F", "\uFEFF", "\u2060"}) {
    const std::string text = "a" + std::string(other) + "b";
    EXPECT_THAT(pieces_of(split_at("Regex", R"(\s)"), text), ElementsAre(text));
    EXPECT_THAT(pieces_of(split_at("Regex", R"([\S]+)"), text), ElementsAre(text));
  }
}

TEST(PreTokenizer, GPT2sOwnPattern) {
  const PreTokenizer gpt2(json::parse(R"({"type":"ByteLevel","add_prefix_space":false})"));
  EXPECT_THAT(pieces_of(gpt2, "I'll pay 100€,  ok\n"), ElementsAre("I", "'ll", " pay", " 100", "€,", " ", " ok", "\n"));
  const PreTokenizer whole(json::parse(R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})"));
  EXPECT_THAT(pieces_of(whole, "I'll pay 100€"), ElementsAre("I'll pay 100€"));
}

TEST(PreTokenizer, AStringIsTakenAsItIs) {
  EXPECT_THAT(pieces_of(split_at("String", ".*"), "a.*.*b."), ElementsAre("a", ".*", ".*", "b."));
}

TEST(PreTokenizer, WhatIsNotSupportedIsNamed) {
  expect_refused("[]", "not an object");
  expect_refused("{}", "\"type\"");
  expect_refused(R"({"type":"Whitespace"})", "Whitespace");
  expect_refused(R"({"type":"Sequence","pretokenizers":[]})", "0 steps");
  expect_refused(R"({"type":"Sequence","pretokenizers":[{"type":"Digits"},{"type":"ByteLevel"}]})", "Digits");
  expect_refused(R"({"type":"ByteLevel","add_prefix_space":true})", "add_prefix_space");
  expect_refused(R"({"type":"ByteLevel"})", "add_prefix_space");
  const std::string split = R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"a"},)";
  expect_refused(split + R"("behavior":"Removed","invert":false},{"type":"ByteLevel"}]})", "Removed");
  expect_refused(split + R"("behavior":"Isolated","invert":true},{"type":"ByteLevel"}]})", "inverted");
}

TEST(OnigPattern, WhatPcreUnderstandsOtherwiseIsRefused) {
  for (const char* const pattern :
       {"^a", "a$", "a.b", R"(\w)", R"(\h)", R"(\bx)", R"(\R)", R"([a[bc]])", "[a&&b]", "[]a]", "(?<name>a)",
        "(?#note)", "(*ACCEPT)a", "(?R)", "a{1,2}+", R"(\Qa\E)", R"(\u0041)", R"(\p{L)", "\\"}) {
    EXPECT_THROW((void)pcre_from_onig(pattern), TextError) << pattern;
  }
}

TEST(OnigPattern, EverythingButSpaceStaysAsItIs) {
  for (const char* const pattern :
       {R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{M}]*(?i:'s|'t)?|\p{N}{1,3}| ?\p{L}++(?!x)(?<=y)(?:z)(?>a))",
        R"(\\\[\]\^\$\.\d\x{41})", "[a$.(|]"}) {
    EXPECT_EQ(pcre_from_onig(pattern), pattern);
  }
}

TEST(Regex, WrongPatternsAreRefused) {
  EXPECT_THROW(Regex::from_pattern("(a"), TextError);
  EXPECT_THROW(Regex::from_pattern(R"(\p{Nonsense})"), TextError);
  EXPECT_THROW(Regex::from_pattern("a*"), TextError);  // matches nothing
  EXPECT_THROW(Regex::from_pattern("\xFF"), TextError);
}

// The default stack of PCRE2's machine code is too small for these.
TEST(Regex, ANestedRepetitionOverAMillionCharactersIsMatched) {
  const Regex regex = Regex::from_pattern("(?:[ab]c?)+|(?:x|yz)+");
  RegexMatcher matcher(regex);
  for (const char letter : {'a', 'x'}) {
    const auto match = matcher.find(std::string(1'000'000, letter), 0);
    ASSERT_TRUE(match.has_value());
    EXPECT_EQ(match->end, 1'000'000U);
  }
}

TEST(Regex, AMatchThatWouldTakeForEverIsAnError) {
  const Regex regex = Regex::from_pattern("(?:(?:a|b)+)+c");
  RegexMatcher matcher(regex);
  EXPECT_THROW((void)matcher.find(std::string(1000, 'a') + "dc", 0), TextError);
}

}  // namespace
}  // namespace bellwether::text
