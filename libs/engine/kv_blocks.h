// The KV cache is cut into blocks of so many tokens.
#pragma once

#include <cstdint>

namespace bellwether::engine {

inline constexpr int64_t kBlockTokens = 64;

[[nodiscard]] constexpr int64_t blocks_for(int64_t tokens) {
  return (tokens + kBlockTokens - 1) / kBlockTokens;
}

}  // namespace bellwether::engine
