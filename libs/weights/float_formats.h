// Conversions between float and the narrow formats of checkpoints, one value at a time. Kernels have their own.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace bellwether::weights {

[[nodiscard]] inline float float_of_bf16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// Nearest, ties to even. REQUIRES: not NaN.
[[nodiscard]] inline uint16_t bf16_of(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

// E4M3 without infinities ("fn"): exponent bias 7, three bits of mantissa, NaN at 0x7F and 0xFF, largest value 448.
[[nodiscard]] inline float float_of_e4m3(uint8_t code) {
  const int exponent = (code >> 3) & 15;
  const int mantissa = code & 7;
  if ((code & 0x7F) == 0x7F) return std::numeric_limits<float>::quiet_NaN();
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                        : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

// Nearest, ties to even. REQUIRES: |value| <= 448.
[[nodiscard]] inline uint8_t e4m3_of(float value) {
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  const float magnitude = std::fabs(value);
  // Below 2^-6 the step is that of the subnormals, 2^-9; above it grows with the exponent.
  const int exponent = std::max(magnitude == 0 ? -6 : std::ilogb(magnitude), -6);
  const auto steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 3 - exponent)));  // 8..16 when normal
  return static_cast<uint8_t>(sign | (((exponent + 6) << 3) + steps));
}

}  // namespace bellwether::weights
