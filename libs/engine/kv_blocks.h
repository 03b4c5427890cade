// Which blocks of the KV cache are free. The cache itself belongs to the forward pass; this only numbers its blocks.
#pragma once

#include <cstdint>
#include <vector>

namespace bellwether::engine {

inline constexpr int64_t kBlockTokens = 64;

[[nodiscard]] constexpr int64_t blocks_for(int64_t tokens) {
  return (tokens + kBlockTokens - 1) / kBlockTokens;
}

class BlockAllocator {
 public:
  explicit BlockAllocator(int64_t blocks);

  // Aborts when none is free: the planner never plans more than there is.
  [[nodiscard]] int32_t take();
  // Aborts when the block is free already.
  void give_back(int32_t block);

  [[nodiscard]] int64_t total() const { return static_cast<int64_t>(is_taken_.size()); }
  [[nodiscard]] int64_t used() const { return total() - static_cast<int64_t>(free_.size()); }

 private:
  std::vector<int32_t> free_;  // the last is taken next: recently used blocks are still in the CPU's caches
  std::vector<bool> is_taken_;
};

}  // namespace bellwether::engine
