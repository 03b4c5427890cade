#include "text/utf8.h"

#include <cstdint>
#include <cstring>

#include "text/tokenizer.h"

namespace bellwether::text {
namespace {

// What may follow a lead byte: so many bytes, of which the first lies in a range that keeps out overlong forms,
// surrogates and what is above U+10FFFF. The others lie in 80..BF.
struct Lead {
  size_t followers;
  uint8_t second_min;
  uint8_t second_max;
};

constexpr Lead kNoLead{0, 1, 0};

Lead lead_of(uint8_t byte) {
  if (byte < 0xC2) return kNoLead;
  if (byte < 0xE0) return {1, 0x80, 0xBF};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};
  if (byte == 0xED) return {2, 0x80, 0x9F};
  if (byte < 0xF0) return {2, 0x80, 0xBF};
  if (byte == 0xF0) return {3, 0x90, 0xBF};
  if (byte < 0xF4) return {3, 0x80, 0xBF};
  if (byte == 0xF4) return {3, 0x80, 0x8F};
  return kNoLead;
}

// How many bytes at the start of the text are ASCII, in whole words.
size_t ascii_words(std::string_view text) {
  constexpr uint64_t kHighBits = 0x8080808080808080;
  size_t length = 0;
  for (uint64_t word = 0; text.size() - length >= sizeof(word); length += sizeof(word)) {
    std::memcpy(&word, text.data() + length, sizeof(word));
    if ((word & kHighBits) != 0) break;
  }
  return length;
}

}  // namespace

Utf8Step next_utf8(std::string_view text) {
  const auto first = static_cast<uint8_t>(text[0]);
  if (first < 0x80) return {Utf8Kind::kCharacter, 1};
  const Lead lead = lead_of(first);
  if (lead.followers == 0) return {Utf8Kind::kIllFormed, 1};
  for (size_t i = 1; i <= lead.followers; ++i) {
    if (i == text.size()) return {Utf8Kind::kIncomplete, i};
    const auto byte = static_cast<uint8_t>(text[i]);
    const uint8_t low = i == 1 ? lead.second_min : 0x80;
    const uint8_t high = i == 1 ? lead.second_max : 0xBF;
    if (byte < low || byte > high) return {Utf8Kind::kIllFormed, i};
  }
  return {Utf8Kind::kCharacter, lead.followers + 1};
}

size_t append_repaired_utf8(std::string_view text, std::string& out) {
  size_t done = 0;  // bytes of `text` already in `out`
  size_t at = 0;
  while (at < text.size()) {
    at += ascii_words(text.substr(at));
    if (at == text.size()) break;
    const Utf8Step step = next_utf8(text.substr(at));
    if (step.kind == Utf8Kind::kIncomplete) break;
    if (step.kind == Utf8Kind::kIllFormed) {
      out.append(text.substr(done, at - done)).append(kReplacementCharacter);
      done = at + step.length;
    }
    at += step.length;
  }
  out.append(text.substr(done, at - done));
  return text.size() - at;
}

bool is_valid_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    bytes.remove_prefix(ascii_words(bytes));
    if (bytes.empty()) break;
    const Utf8Step step = next_utf8(bytes);
    if (step.kind != Utf8Kind::kCharacter) return false;
    bytes.remove_prefix(step.length);
  }
  return true;
}

std::string_view utf8_prefix(std::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  while (bytes_max > 0 && (static_cast<uint8_t>(text[bytes_max]) & 0xC0) == 0x80) --bytes_max;
  return text.substr(0, bytes_max);
}

}  // namespace bellwether::text
