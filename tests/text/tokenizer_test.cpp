#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "text/support.h"
#include "text/synthetic_language.h"

namespace bellwether::text {
namespace {

namespace json = boost::json;

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

// A small tokenizer's file with ids 0 to 299, for tests to change.
json::object small_file() {
  static const json::object file = json::parse(SyntheticLanguage(200, 1).tokenizer_json(300)).as_object();
  return file;
}

json::object& model_of(json::object& file) {
  return file["model"].as_object();
}
json::object& vocabulary_of(json::object& file) {
  return model_of(file)["vocab"].as_object();
}

json::object added_token(std::string_view content, int64_t id, bool normalized = false, bool special = false) {
  return {{"id", id},        {"content", content}, {"single_word", false},    {"lstrip", false},
          {"rstrip", false}, {"special", special}, {"normalized", normalized}};
}

void set_added(json::object& file, std::initializer_list<json::object> tokens) {
  json::array& added = file["added_tokens"].emplace_array();
  for (const json::object& token : tokens) added.push_back(token);
}

Tokenizer tokenizer_of(const json::object& file) {
  return Tokenizer::from_json(json::serialize(file));
}

void expect_refused(const std::function<void(json::object&)>& change, const std::string& reason) {
  json::object file = small_file();
  change(file);
  EXPECT_THAT([&] { tokenizer_of(file); }, ThrowsMessage<TextError>(HasSubstr(reason)));
}

TEST(Tokenizer, AnyTextIsGivenBack) {
  const Tokenizer tokenizer = tokenizer_of(small_file());
  std::mt19937_64 random(7);
  static constexpr std::string_view kParts[] = {"a", " ",      "\n",   "\r\n", "的",  "🤖", "1",
                                                "é", "\u0301", "\x01", "!",    "the", "<"};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (uint64_t parts = random() % 40; parts > 0; --parts) text += kParts[random() % std::size(kParts)];
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(text), true), text);
    ASSERT_EQ(demo_tokenizer().decode(demo_tokenizer().encode(text), true), text);
  }
}

TEST(Tokenizer, TextThatIsNotUtf8IsRefused) {
  EXPECT_THROW((void)demo_tokenizer().encode("a\xFF"), TextError);
  EXPECT_THROW((void)demo_tokenizer().encode("a\xE4\xB8"), TextError);
  EXPECT_THAT(demo_tokenizer().encode(""), ElementsAre());
}

TEST(Tokenizer, LongRunsAreEncodedInTime) {
  constexpr size_t kBytes = size_t{4} << 20;
  for (const char* const unit : {"a", " ", "中", "<｜"}) {
    std::string text;
    while (text.size() < kBytes) text += unit;
    const std::vector<TokenId> ids = demo_tokenizer().encode(text);
    EXPECT_TRUE(demo_tokenizer().decode(ids, false) == text) << unit;
  }
}

TEST(Tokenizer, IdsOutsideStandForNothing) {
  const Tokenizer& tokenizer = demo_tokenizer();
  EXPECT_EQ(tokenizer.id_limit(), 2048);
  for (const TokenId id : {-1, 2048, std::numeric_limits<TokenId>::min(), std::numeric_limits<TokenId>::max()}) {
    EXPECT_EQ(tokenizer.bytes(id), "");
    EXPECT_FALSE(tokenizer.is_special(id));
  }
}

TEST(Tokenizer, AddedTokensOfTheDemoModel) {
  const Tokenizer& tokenizer = demo_tokenizer();
  EXPECT_EQ(tokenizer.id_of_added_token("<｜begin▁of▁sentence｜>"), 0);
  EXPECT_EQ(tokenizer.id_of_added_token("the"), std::nullopt);
  EXPECT_EQ(tokenizer.bytes(0), "<｜begin▁of▁sentence｜>");
  EXPECT_TRUE(tokenizer.is_special(0));
  EXPECT_FALSE(tokenizer.is_special(tokenizer.id_of_added_token("<think>").value()));
  const std::vector<TokenId> ids = tokenizer.encode("<｜begin▁of▁sentence｜>a</think>");
  EXPECT_EQ(ids.size(), 3U);
  EXPECT_EQ(tokenizer.decode(ids, true), "a</think>");
}

TEST(Tokenizer, OfAddedTokensTheLeftmostAndThenTheLongestCounts) {
  json::object file = small_file();
  set_added(file,
            {added_token("<a", 300), added_token("<a><b", 301), added_token("a><b><c", 302), added_token("><", 303)});
  const Tokenizer tokenizer = tokenizer_of(file);
  const TokenId b = tokenizer.encode("b").at(0);
  EXPECT_THAT(tokenizer.encode("<a><b><c"), ElementsAre(301, 303, tokenizer.encode("c").at(0)));
  EXPECT_THAT(tokenizer.encode("<ab<a><"), ElementsAre(300, b, 300, 303));
}

TEST(Tokenizer, NormalizedAddedTokensComeAfterTheOthers) {
  json::object file = small_file();
  set_added(file, {added_token("ab", 300, true), added_token("bc", 301, false)});
  const Tokenizer tokenizer = tokenizer_of(file);
  EXPECT_THAT(tokenizer.encode("abc"), ElementsAre(tokenizer.encode("a").at(0), 301));
  EXPECT_THAT(tokenizer.encode("ab"), ElementsAre(300));
}

TEST(Tokenizer, AnAddedTokenStandsForItsTextWhateverItsLetters) {
  json::object file = small_file();
  set_added(file, {added_token("éé Ġ", 300)});
  const Tokenizer tokenizer = tokenizer_of(file);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("aéé Ġ"), false), "aéé Ġ");
}

TEST(Tokenizer, AnAddedTokenMayStandInTheVocabularyToo) {
  json::object file = small_file();
  vocabulary_of(file)["<｜end｜>"] = 300;
  set_added(file, {added_token("<｜end｜>", 300, false, true)});
  const Tokenizer tokenizer = tokenizer_of(file);
  EXPECT_THAT(tokenizer.encode("<｜end｜>"), ElementsAre(300));
  EXPECT_TRUE(tokenizer.is_special(300));
}

TEST(Tokenizer, IdsMayHaveGaps) {
  json::object file = small_file();
  set_added(file, {added_token("<far>", 5000)});
  const Tokenizer tokenizer = tokenizer_of(file);
  EXPECT_EQ(tokenizer.id_limit(), 5001);
  EXPECT_EQ(tokenizer.bytes(4999), "");
  EXPECT_THAT(tokenizer.encode("<far>"), ElementsAre(5000));
}

TEST(Tokenizer, MergesMayBeTextsOrPairs) {
  json::object file = small_file();
  json::array texts;
  for (const json::value& merge : model_of(file)["merges"].as_array()) {
    const json::array& sides = merge.as_array();
    texts.push_back(json::string(std::string(sides[0].as_string()) + " " + std::string(sides[1].as_string())));
  }
  const Tokenizer pairs = tokenizer_of(file);
  model_of(file)["merges"] = texts;
  const std::string text = SyntheticLanguage(200, 1).text(2000, 1);
  EXPECT_EQ(tokenizer_of(file).encode(text), pairs.encode(text));
  EXPECT_LT(pairs.encode(text).size(), text.size() * 9 / 10);
}

TEST(Tokenizer, ATokenizerOfDeepSeeksSizeGivesItsTextBack) {
  const SyntheticLanguage language(90'000, 1);
  const Tokenizer tokenizer = Tokenizer::from_json(language.tokenizer_json(128'000));
  EXPECT_EQ(tokenizer.id_limit(), 128'000);
  const std::string text = language.text(1'000'000, 2);
  const std::vector<TokenId> ids = tokenizer.encode(text);
  EXPECT_EQ(tokenizer.decode(ids, false), text);
  EXPECT_LT(ids.size(), text.size() / 3);
}

TEST(Tokenizer, IsUsedByThreadsAtOnce) {
  const Tokenizer tokenizer = tokenizer_of(small_file());
  const std::string text = SyntheticLanguage(200, 1).text(20'000, 3);
  const std::vector<TokenId> expected = tokenizer.encode(text);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 10; ++round) EXPECT_EQ(tokenizer.encode(text), expected);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(TokenizerFile, WhatIsNotJsonIsRefused) {
  for (const std::string_view text : {"", "{", "[]", "null", "{\"model\":\"\xFF\"}"}) {
    EXPECT_THROW(Tokenizer::from_json(text), TextError) << text;
  }
  EXPECT_THROW(Tokenizer::from_json(std::string(100'000, '[')), TextError);
}

TEST(TokenizerFile, WhatIsNotSupportedIsNamed) {
  expect_refused([](json::object& file) { model_of(file)["type"] = "Unigram"; }, "Unigram");
  expect_refused([](json::object& file) { model_of(file)["byte_fallback"] = true; }, "byte_fallback");
  expect_refused([](json::object& file) { model_of(file)["unk_token"] = "<unk>"; }, "unk_token");
  expect_refused([](json::object& file) { model_of(file)["dropout"] = 0.1; }, "dropout");
  expect_refused([](json::object& file) { model_of(file)["end_of_word_suffix"] = "</w>"; }, "end_of_word_suffix");
  expect_refused([](json::object& file) { model_of(file)["continuing_subword_prefix"] = "##"; }, "continuing_subword");
  expect_refused([](json::object& file) { file["normalizer"] = {{"type", "NFC"}}; }, "normalizer");
  expect_refused([](json::object& file) { file["decoder"] = {{"type", "WordPiece"}}; }, "WordPiece");
  expect_refused([](json::object& file) { file.erase("pre_tokenizer"); }, "pre_tokenizer");
  for (const char* const flag : {"lstrip", "rstrip", "single_word"}) {
    json::object token = added_token("<x>", 300);
    token[flag] = true;
    expect_refused([&](json::object& file) { set_added(file, {token}); }, flag);
  }
}

TEST(TokenizerFile, IdsAreWholeNumbersInBounds) {
  for (const json::value& id : {json::value(-1), json::value(int64_t{1} << 31), json::value(uint64_t{1} << 63),
                                json::value(1.5), json::value("1"), json::value(nullptr), json::value(1 << 20)}) {
    expect_refused([&](json::object& file) { vocabulary_of(file)["xyzzy"] = id; }, "xyzzy");
    json::object token = added_token("<x>", 0);
    token["id"] = id;
    expect_refused([&](json::object& file) { set_added(file, {token}); }, "<x>");
  }
}

TEST(TokenizerFile, ContradictionsAreRefused) {
  expect_refused([](json::object& file) { vocabulary_of(file)["xyzzy"] = 7; }, "another's");
  expect_refused([](json::object& file) { set_added(file, {added_token("<x>", 7)}); }, "another's");
  expect_refused([](json::object& file) { set_added(file, {added_token("a", 300)}); }, "in the vocabulary");
  expect_refused([](json::object& file) { set_added(file, {added_token("<x>", 300), added_token("<x>", 301)}); },
                 "twice");
  expect_refused([](json::object& file) { set_added(file, {added_token("", 300)}); }, "0 bytes");
  expect_refused([](json::object& file) { vocabulary_of(file).erase("Ġ"); }, "0x20");
}

TEST(TokenizerFile, MergesAreOfKnownTokens) {
  const auto with_merge = [](const json::value& merge) {
    return [merge](json::object& file) { model_of(file)["merges"] = json::array{merge}; };
  };
  expect_refused(with_merge({"a", "unknown"}), "unknown");
  expect_refused(with_merge({"q", "q"}), "qq");  // what it makes is no token
  for (const json::value& merge : {json::value("a"), json::value("a b c"), json::value(json::array{"a"}),
                                   json::value(json::array{"a", 1}), json::value(1), json::value(nullptr)}) {
    expect_refused(with_merge(merge), "number 0");
  }
  expect_refused([](json::object& file) { model_of(file)["merges"] = nullptr; }, "merges");
}

}  // namespace
}  // namespace bellwether::text
