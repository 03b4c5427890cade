#include "text/byte_alphabet.h"

#include <array>
#include <cstdint>

namespace bellwether::text {
namespace {

constexpr int kOutside = -1;
// The bytes without a printable Latin-1 character of their own, 68 of them, take U+0100 to U+0143 in their order.
constexpr size_t kAlphabetEnd = 0x144;

constexpr bool is_own_character(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

// Byte by code point (GPT-2's bytes_to_unicode, the other way round).
constexpr std::array<int, kAlphabetEnd> make_alphabet() {
  std::array<int, kAlphabetEnd> bytes{};
  bytes.fill(kOutside);
  size_t next = 0x100;
  for (int byte = 0; byte < 0x100; ++byte) {
    bytes[is_own_character(byte) ? static_cast<size_t>(byte) : next++] = byte;
  }
  return bytes;
}

constexpr std::array<int, kAlphabetEnd> kByteOfCodePoint = make_alphabet();

}  // namespace

std::optional<std::string> bytes_of_token(std::string_view token) {
  std::string bytes;
  bytes.reserve(token.size());
  for (size_t i = 0; i < token.size(); ++i) {
    size_t code_point = static_cast<uint8_t>(token[i]);
    if (code_point >= 0x80) {
      // Every code point of the alphabet has at most two bytes.
      if (code_point >= 0xE0) return std::nullopt;
      code_point = (code_point & 0x1F) << 6 | (static_cast<uint8_t>(token[++i]) & 0x3F);
    }
    if (code_point >= kAlphabetEnd || kByteOfCodePoint[code_point] == kOutside) return std::nullopt;
    bytes.push_back(static_cast<char>(kByteOfCodePoint[code_point]));
  }
  return bytes;
}

}  // namespace bellwether::text
