#include "engine/cpu/large_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <utility>

namespace bellwether::engine::cpu {
namespace {

constexpr int64_t kLine = 64;
constexpr int64_t kChunkMin = int64_t{64} << 20;  // untouched pages take no memory

int64_t rounded_up(int64_t bytes, int64_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

std::byte* LargePages::allocate(int64_t bytes) {
  bytes = rounded_up(bytes, kLine);
  if (next_ == nullptr || bytes > left_) {
    const int64_t chunk = std::max(kChunkMin, rounded_up(bytes, static_cast<int64_t>(kPage)));
    next_ = static_cast<std::byte*>(::operator new[](static_cast<size_t>(chunk), kPage));
    chunks_.emplace_back(next_);
    left_ = chunk;
    madvise(next_, static_cast<size_t>(chunk), MADV_HUGEPAGE);  // advice: without it all works, but slower
  }
  left_ -= bytes;
  return std::exchange(next_, next_ + bytes);
}

}  // namespace bellwether::engine::cpu
