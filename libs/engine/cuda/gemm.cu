// FP8 products for few rows: the time is that of reading the weights once.
//
// The weights are the 64-row side of the tensor cores' product, the batch's rows its columns, filled up to 8, 16, 32,
// 64 or 128. A block has 128 rows of weights (two warpgroups) and a part of the columns; one more warp keeps copies of
// several tiles under way, those of weights before the kernel before has ended. The blocks that share an output are a
// cluster and add their parts up in order. How the columns are divided depends on the weights' shape alone, and a
// product's column does not depend on the others: a row's result is the same in every batch.
#include <cooperative_groups.h>

#include <algorithm>

#include "engine/cuda/device.cuh"
#include "engine/cuda/hopper.cuh"
#include "engine/cuda/kernels.h"
#include "engine/cuda/launch.h"

namespace bellwether::engine::cuda {
namespace {

constexpr int kWarpgroup = 128;
constexpr int kThreads = 2 * kWarpgroup + 32;
constexpr int64_t kFewRows = 128;  // at a time
constexpr int64_t kBlocksWanted = 264;
constexpr int64_t kSplitMax = 8;

template <int kColumns>
struct FewRows {
  static constexpr int kStages = kColumns == 128 ? 6 : kColumns == 64 ? 4 : 5;
  static constexpr int kBlocksPerSm = kColumns == 128 ? 1 : 2;
  static constexpr int kSumStride = static_cast<int>(kTile) + 4;  // floats; keeps banks apart
  struct Stage {
    uint8_t w[kTileBytes];
    uint8_t x[kColumns * kTile];
  };
  struct alignas(1024) Shared {
    union {
      Stage stages[kStages];
      float sums[kColumns][kSumStride];
    };
    float scales[kStages][kColumns];
    uint64_t full[kStages];
    uint64_t empty[kStages];
  };
  static_assert(sizeof(Stage) % 1024 == 0);
};

template <int kColumns>
__global__ void __launch_bounds__(kThreads, FewRows<kColumns>::kBlocksPerSm)
    few_rows_kernel(Fp8Rows x, int64_t rows, Fp8Matrix w, __nv_bfloat16* y, int64_t y_stride) {
  using Layout = FewRows<kColumns>;
  extern __shared__ __align__(1024) uint8_t memory[];
  auto& shared = *reinterpret_cast<typename Layout::Shared*>(memory);
  const int thread = static_cast<int>(threadIdx.x);
  const auto cluster = cooperative_groups::this_cluster();
  const int split = static_cast<int>(gridDim.y);
  const int64_t tile_row = blockIdx.x;
  const int64_t begin = w.col_tiles() * blockIdx.y / split;
  const int64_t end = w.col_tiles() * (blockIdx.y + 1) / split;
  if (thread == 0) {
    for (int stage = 0; stage < Layout::kStages; ++stage) {
      barrier_init(&shared.full[stage], 1);
      barrier_init(&shared.empty[stage], 2);
    }
    barrier_init_done();
  }
  __syncthreads();
  cudaTriggerProgrammaticLaunchCompletion();

  float total[kColumns / 2] = {};
  if (thread >= 2 * kWarpgroup) {
    if (thread == 2 * kWarpgroup) {
      const auto lines = static_cast<uint32_t>(x.rows_padded < kColumns ? x.rows_padded : kColumns);
      const uint32_t bytes = kTileBytes + lines * (kTile + sizeof(float));
      const auto copy_weights = [&](int64_t tile) {
        const auto stage = (tile - begin) % Layout::kStages;
        barrier_arrive_expecting(&shared.full[stage], bytes);
        copy_bulk(shared.stages[stage].w, w.tiles + (tile_row * w.col_tiles() + tile) * kTileBytes, kTileBytes,
                  &shared.full[stage]);
      };
      const auto copy_rows = [&](int64_t tile) {
        const auto stage = (tile - begin) % Layout::kStages;
        copy_bulk(shared.stages[stage].x, x.codes + tile * x.rows_padded * kTile, lines * kTile, &shared.full[stage]);
        copy_bulk(shared.scales[stage], x.scales + tile * x.rows_padded, lines * sizeof(float), &shared.full[stage]);
      };
      const int64_t ahead = end - begin < Layout::kStages ? end : begin + Layout::kStages;
      for (int64_t tile = begin; tile < ahead; ++tile) copy_weights(tile);
      cudaGridDependencySynchronize();
      for (int64_t tile = begin; tile < ahead; ++tile) copy_rows(tile);
      for (int64_t tile = ahead; tile < end; ++tile) {
        const int64_t i = tile - begin;
        barrier_wait(&shared.empty[i % Layout::kStages], static_cast<uint32_t>(i / Layout::kStages + 1) % 2);
        copy_weights(tile);
        copy_rows(tile);
      }
    }
  } else {
    const int group = thread / kWarpgroup;
    const int lane_column = thread % 4 * 2;
    for (int64_t i = 0; i < end - begin; ++i) {
      const auto stage = i % Layout::kStages;
      const float w_scale = __ldg(w.scales + tile_row * w.col_tiles() + begin + i);
      barrier_wait(&shared.full[stage], static_cast<uint32_t>(i / Layout::kStages) % 2);
      const uint64_t a = line_operand(shared.stages[stage].w + group * (kTileBytes / 2));
      const uint64_t b = line_operand(shared.stages[stage].x);
      float part[kColumns / 2];
      product_begin();
      for (int step = 0; step < 4; ++step) Fp8Product<kColumns>::run(part, a + 2 * step, b + 2 * step, step > 0);
      product_end();
#pragma unroll
      for (int j = 0; j < kColumns / 8; ++j) {
        const float2 scale = *reinterpret_cast<const float2*>(&shared.scales[stage][8 * j + lane_column]);
        const float2 both = {scale.x * w_scale, scale.y * w_scale};
        total[4 * j] += part[4 * j] * both.x;
        total[4 * j + 1] += part[4 * j + 1] * both.y;
        total[4 * j + 2] += part[4 * j + 2] * both.x;
        total[4 * j + 3] += part[4 * j + 3] * both.y;
      }
      asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
      if (thread % kWarpgroup == 0) barrier_arrive(&shared.empty[stage]);
    }
  }
  __syncthreads();  // the stages are free

  if (thread < 2 * kWarpgroup) {
    const int output = thread / kWarpgroup * 64 + thread % kWarpgroup / 32 * 16 + thread % 32 / 4;
#pragma unroll
    for (int j = 0; j < kColumns / 8; ++j) {
      for (int i = 0; i < 4; ++i) {
        shared.sums[8 * j + thread % 4 * 2 + i % 2][output + i / 2 * 8] = total[4 * j + i];
      }
    }
  }
  cluster.sync();
  // This block adds up and writes every split-th row, eight outputs for each thread.
  cudaGridDependencySynchronize();
  const int part = static_cast<int>(blockIdx.y);
  for (int i = thread; i < kColumns / split * 16; i += kThreads) {
    const int row = i / 16 * split + part;
    const int64_t output = tile_row * kTile + i % 16 * 8;
    if (row >= rows || row >= kColumns || output >= w.rows) continue;
    float sums[8] = {};
    for (int other = 0; other < split; ++other) {
      const float* from = cluster.map_shared_rank(&shared.sums[row][i % 16 * 8], static_cast<unsigned>(other));
      const float4 low = reinterpret_cast<const float4*>(from)[0];
      const float4 high = reinterpret_cast<const float4*>(from)[1];
      const float values[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
      for (int k = 0; k < 8; ++k) sums[k] += values[k];
    }
    __nv_bfloat162 packed[4];
    for (int k = 0; k < 4; ++k) packed[k] = __floats2bfloat162_rn(sums[2 * k], sums[2 * k + 1]);
    *reinterpret_cast<uint4*>(y + row * y_stride + output) = *reinterpret_cast<const uint4*>(packed);
  }
  cluster.sync();  // no block ends while others read what it has
}

int64_t split_of(const Fp8Matrix& w) {
  int64_t split = 1;
  while (2 * split <= kSplitMax && 2 * split * w.row_tiles() <= kBlocksWanted && 2 * split <= w.col_tiles()) split *= 2;
  return split;
}

template <int kColumns>
void launch_few_rows(const Fp8Rows& x, int64_t rows, const Fp8Matrix& w, __nv_bfloat16* y, int64_t y_stride,
                     cudaStream_t stream) {
  constexpr size_t kShared = sizeof(typename FewRows<kColumns>::Shared);
  static const cudaError_t prepared =
      cudaFuncSetAttribute(few_rows_kernel<kColumns>, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared);
  check(prepared, "shared memory of few_rows_kernel");
  const auto split = static_cast<unsigned>(split_of(w));
  const dim3 grid(static_cast<unsigned>(w.row_tiles()), split);
  launch(few_rows_kernel<kColumns>, {.grid = grid, .block = kThreads, .shared_bytes = kShared, .cluster_y = split},
         stream, x, rows, w, y, y_stride);
}

}  // namespace

void fp8_gemm(const Fp8Rows& x, int64_t rows, const Fp8Matrix& w, __nv_bfloat16* y, int64_t y_stride,
              cudaStream_t stream) {
  // More rows than a block takes: one call for each 128, all of which x's padding has.
  for (int64_t first = 0; first < rows; first += kFewRows) {
    Fp8Rows part = x;
    part.codes += first * kTile;
    part.scales += first;
    const int64_t count = std::min(kFewRows, rows - first);
    __nv_bfloat16* out = y + first * y_stride;
    if (count <= 8)
      launch_few_rows<8>(part, count, w, out, y_stride, stream);
    else if (count <= 16)
      launch_few_rows<16>(part, count, w, out, y_stride, stream);
    else if (count <= 32)
      launch_few_rows<32>(part, count, w, out, y_stride, stream);
    else if (count <= 64)
      launch_few_rows<64>(part, count, w, out, y_stride, stream);
    else
      launch_few_rows<128>(part, count, w, out, y_stride, stream);
  }
}

}  // namespace bellwether::engine::cuda
