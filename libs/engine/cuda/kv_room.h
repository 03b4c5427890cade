// How many blocks of KV cache a GPU has room for. Pure.
#pragma once

#include <cstdint>

namespace bellwether::engine::cuda {

// In bytes, with everything on the GPU but the cache.
struct GpuRoom {
  int64_t total = 0;      // of the GPU
  int64_t free = 0;       // now, whoever has taken the rest
  int64_t weights = 0;    // of this process
  int64_t workspace = 0;  // of this process
  int64_t block = 0;      // of one block of the cache, all layers
};

// Kept free of what is free: kernels are loaded and graphs made later.
inline constexpr int64_t kGpuBytesKept = int64_t{512} << 20;

// The blocks that fit the `utilization` (0 to 1) of the GPU that this process may take, beside its weights and its
// workspace; no more than is free. Throws ConfigError with the arithmetic when that is less than blocks_min, one
// sequence's.
[[nodiscard]] int64_t kv_blocks_for(const GpuRoom& room, double utilization, int64_t blocks_min);

// Throws ConfigError with the arithmetic when `blocks` blocks, wanted by name, do not fit.
void require_room(const GpuRoom& room, int64_t blocks);

}  // namespace bellwether::engine::cuda
