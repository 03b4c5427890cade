#include "engine/kv_blocks.h"

#include <numeric>

#include "engine/invariant.h"

namespace bellwether::engine {

BlockAllocator::BlockAllocator(int64_t blocks)
    : free_(static_cast<size_t>(blocks)), is_taken_(static_cast<size_t>(blocks)) {
  std::iota(free_.rbegin(), free_.rend(), 0);
}

int32_t BlockAllocator::take() {
  require(!free_.empty(), "a KV block was taken, but none is free");
  const int32_t block = free_.back();
  free_.pop_back();
  is_taken_[block] = true;
  return block;
}

void BlockAllocator::give_back(int32_t block) {
  require(is_taken_.at(block), "a KV block was given back twice");
  is_taken_[block] = false;
  free_.push_back(block);
}

}  // namespace bellwether::engine
