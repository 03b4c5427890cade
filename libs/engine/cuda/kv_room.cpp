#include "engine/cuda/kv_room.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "engine/kv_blocks.h"
#include "engine/model_config.h"

namespace bellwether::engine::cuda {
namespace {

double gb(int64_t bytes) {
  return static_cast<double>(bytes) / 1e9;
}

std::string parts_of(const GpuRoom& room, int64_t blocks) {
  return fmt::format("weights {:.2f} GB + workspace {:.2f} GB + {} KV blocks {:.2f} GB = {:.2f} GB", gb(room.weights),
                     gb(room.workspace), blocks, gb(blocks * room.block),
                     gb(room.weights + room.workspace + blocks * room.block));
}

}  // namespace

int64_t kv_blocks_for(const GpuRoom& room, double utilization, int64_t blocks_min) {
  const auto share = static_cast<int64_t>(utilization * static_cast<double>(room.total));
  const int64_t left = std::min(share - room.weights - room.workspace, room.free - kGpuBytesKept);
  const int64_t blocks = std::max<int64_t>(left, 0) / room.block;
  if (blocks >= blocks_min) return blocks;
  throw ConfigError(fmt::format(
      "out of memory: {}, of which one sequence of {} tokens needs all, but gpu_memory_utilization {} of {:.2f} GB is "
      "{:.2f} GB, and {:.2f} GB are free beside weights and workspace; set a shorter context (max_model_len), smaller "
      "batches (max_num_batched_tokens), a larger gpu_memory_utilization, or more ranks",
      parts_of(room, blocks_min), blocks_min * kBlockTokens, utilization, gb(room.total), gb(share), gb(room.free)));
}

void require_room(const GpuRoom& room, int64_t blocks) {
  if (blocks * room.block <= room.free) return;
  throw ConfigError(
      fmt::format("out of memory: {}, but {:.2f} of {:.2f} GB are free beside weights and workspace; kv_blocks can be "
                  "{} at most",
                  parts_of(room, blocks), gb(room.free), gb(room.total),
                  std::max<int64_t>(0, room.free - kGpuBytesKept) / room.block));
}

}  // namespace bellwether::engine::cuda
