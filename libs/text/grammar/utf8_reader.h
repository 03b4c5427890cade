// Characters out of UTF-8 that is known to be valid.
#pragma once

#include <cstdint>
#include <string_view>

namespace bellwether::text::grammar {

// REQUIRES: `utf8` is valid UTF-8 and not empty.
[[nodiscard]] inline uint32_t take_code_point(std::string_view& utf8) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(utf8[i]); };
  const uint8_t lead = byte(0);
  const size_t size = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  uint32_t code_point = size == 1 ? lead : lead & (0x7F >> size);
  for (size_t i = 1; i < size; ++i) code_point = code_point << 6 | (byte(i) & 0x3F);
  utf8.remove_prefix(size);
  return code_point;
}

}  // namespace bellwether::text::grammar
