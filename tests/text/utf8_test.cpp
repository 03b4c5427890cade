#include "text/utf8.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace bellwether::text {
namespace {

std::string repaired(std::string_view bytes) {
  std::string text;
  if (append_repaired_utf8(bytes, text) > 0) text.append(kReplacementCharacter);
  return text;
}

std::string replacements(size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text.append(kReplacementCharacter);
  return text;
}

// A code point in the given number of bytes, whether that is allowed or not.
std::string written(uint32_t code_point, int bytes) {
  static constexpr uint8_t kLeads[] = {0, 0, 0xC0, 0xE0, 0xF0};
  if (bytes == 1) return {static_cast<char>(code_point)};
  std::string text;
  for (int i = 0; i < bytes; ++i) {
    const uint32_t bits = code_point >> (6 * (bytes - 1 - i)) & 0x3F;
    text.push_back(static_cast<char>((i == 0 ? kLeads[bytes] : 0x80U) | bits));
  }
  return text;
}

TEST(Utf8, EveryCodePointInItsShortestFormAndNoOther) {
  for (uint32_t code_point = 0; code_point < 0x110000; ++code_point) {
    const int shortest = code_point < 0x80 ? 1 : code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    const bool surrogate = code_point >= 0xD800 && code_point < 0xE000;
    ASSERT_EQ(is_valid_utf8(written(code_point, shortest)), !surrogate) << code_point;
    for (int bytes = shortest + 1; bytes <= 4; ++bytes) {
      ASSERT_FALSE(is_valid_utf8(written(code_point, bytes))) << code_point;
    }
  }
  EXPECT_FALSE(is_valid_utf8(written(0x110000, 4)));
}

TEST(Utf8, AnErrorIsSeenWhereverItStands) {
  for (size_t length = 1; length < 40; ++length) {
    for (size_t at = 0; at < length; ++at) {
      std::string text(length, 'a');
      EXPECT_TRUE(is_valid_utf8(text));
      text[at] = '\xE4';
      EXPECT_FALSE(is_valid_utf8(text)) << length << ' ' << at;
    }
  }
}

// The examples of the Unicode standard, version 15, tables 3-8 to 3-11.
TEST(Utf8, OneReplacementForEachMaximalIllFormedPart) {
  EXPECT_EQ(repaired("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), replacements(8) + "A");
  EXPECT_EQ(repaired("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), replacements(8) + "A");
  EXPECT_EQ(repaired("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), replacements(5) + "A" + replacements(2) + "B");
  EXPECT_EQ(repaired("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), replacements(4) + "A");
}

TEST(Utf8, AnIncompleteEndIsLeft) {
  const std::string robot = "🤖";
  for (size_t bytes = 1; bytes < robot.size(); ++bytes) {
    std::string text;
    EXPECT_EQ(append_repaired_utf8("a" + robot.substr(0, bytes), text), bytes);
    EXPECT_EQ(text, "a");
  }
  std::string text;
  EXPECT_EQ(append_repaired_utf8("a" + robot, text), 0U);
  EXPECT_EQ(text, "a" + robot);
}

}  // namespace
}  // namespace bellwether::text
