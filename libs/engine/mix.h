// A hash of 64 bits, for random numbers and names that must be the same on every machine.
#pragma once

#include <cstdint>

namespace bellwether::engine {

inline constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;  // 2^64 divided by the golden ratio, splitmix64's step

// The finaliser of splitmix64 (Steele, Lea and Flood, 2014): every bit of the input moves every bit of the output, and
// no two inputs have one output.
[[nodiscard]] constexpr uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

}  // namespace bellwether::engine
