#include "text/detokenizer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "text/support.h"

namespace bellwether::text {
namespace {

// WHATWG's UTF-8 decoder as its specification words it, of a whole string (encoding.spec.whatwg.org, section 8.1.1).
std::string decode_whole(std::string_view bytes) {
  static const std::string kReplacement = "\uFFFD";
  std::string text;
  std::string character;
  int needed = 0;
  uint8_t lower = 0x80;
  uint8_t upper = 0xBF;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<uint8_t>(bytes[i]);
    if (needed > 0 && (byte < lower || byte > upper)) {
      text += kReplacement;
      needed = 0;
      --i;  // the byte is seen again, as the first of a character
    } else if (needed > 0) {
      character.push_back(bytes[i]);
      if (--needed == 0) text += character;
    } else if (byte < 0x80) {
      text.push_back(bytes[i]);
    } else if (byte >= 0xC2 && byte <= 0xF4) {
      needed = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
      character = bytes[i];
      lower = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
      upper = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
      continue;
    } else {
      text += kReplacement;
    }
    lower = 0x80;
    upper = 0xBF;
  }
  if (needed > 0) text += kReplacement;
  return text;
}

std::vector<TokenId> ids_of_bytes() {
  std::map<std::string_view, TokenId> by_bytes;
  for (TokenId id = 0; id < demo_tokenizer().id_limit(); ++id) by_bytes.emplace(demo_tokenizer().bytes(id), id);
  std::vector<TokenId> ids;
  for (int byte = 0; byte < 256; ++byte) ids.push_back(by_bytes.at(std::string(1, static_cast<char>(byte))));
  return ids;
}

std::string detokenized(const std::vector<TokenId>& ids) {
  Detokenizer detokenizer(demo_tokenizer());
  std::string text;
  for (const TokenId id : ids) {
    const std::string piece = detokenizer.push(id);
    EXPECT_TRUE(is_valid_utf8(piece));
    text += piece;
  }
  const std::string rest = detokenizer.finish();
  EXPECT_EQ(detokenizer.finish(), "");
  return text + rest;
}

TEST(Detokenizer, AnyBytesOneByOneGiveWhatTheyGiveAtOnce) {
  // Bytes that begin, continue and break characters, often.
  static constexpr std::string_view kBytes =
      "a\n\x80\x9F\xA0\xBF\xC1\xC2\xDF\xE0\xE4\xED\xEF\xF0\xF1\xF4\xF5\xFF\x8F\x90";
  const std::vector<TokenId> byte_ids = ids_of_bytes();
  std::mt19937_64 random(1);
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes;
    std::vector<TokenId> ids;
    for (uint64_t length = random() % 24; length > 0; --length) {
      const uint64_t kind = random() % 4;
      const std::string next = kind == 0   ? std::string("🤖")
                               : kind == 1 ? std::string(1, static_cast<char>(random()))
                                           : std::string(1, kBytes[random() % kBytes.size()]);
      bytes += next;
      for (const char byte : next) ids.push_back(byte_ids[static_cast<uint8_t>(byte)]);
    }
    const std::string expected = decode_whole(bytes);
    ASSERT_EQ(detokenized(ids), expected);
    ASSERT_EQ(demo_tokenizer().decode(ids, false), expected);
  }
}

TEST(Detokenizer, AnyIdsGiveWhatTheyGiveAtOnce) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 2'000; ++round) {
    std::vector<TokenId> ids;
    for (uint64_t length = random() % 30; length > 0; --length) {
      ids.push_back(static_cast<TokenId>(random() % 2060) - 5);  // some stand for nothing
    }
    ASSERT_EQ(detokenized(ids), demo_tokenizer().decode(ids, true));
  }
}

TEST(Detokenizer, ACharacterComesWithItsLastToken) {
  const std::vector<TokenId> byte_ids = ids_of_bytes();
  Detokenizer detokenizer(demo_tokenizer());
  EXPECT_EQ(detokenizer.push(byte_ids[0xF0]), "");
  EXPECT_EQ(detokenizer.push(byte_ids[0x9F]), "");
  EXPECT_EQ(detokenizer.push(byte_ids[0xA4]), "");
  EXPECT_EQ(detokenizer.push(byte_ids[0x96]), "🤖");
  EXPECT_EQ(detokenizer.push(byte_ids[0xE4]), "");
  EXPECT_EQ(detokenizer.push(byte_ids['a']), "\uFFFDa");
}

TEST(Detokenizer, SpecialTokensAreLeftOutUnlessKept) {
  const TokenId end = demo_tokenizer().id_of_added_token("<｜end▁of▁sentence｜>").value();
  const TokenId sep = demo_tokenizer().id_of_added_token("<｜tool▁sep｜>").value();
  const TokenId think = demo_tokenizer().id_of_added_token("<think>").value();
  Detokenizer detokenizer(demo_tokenizer(), {sep});
  EXPECT_EQ(detokenizer.push(end), "");
  EXPECT_EQ(detokenizer.push(sep), "<｜tool▁sep｜>");
  EXPECT_EQ(detokenizer.push(think), "<think>");  // an added token, but not a special one
}

}  // namespace
}  // namespace bellwether::text
