// FP8 products. With few rows the time is that of reading the weights once.
//
// The weights are the 64-row side of the tensor cores' product, the batch's rows its columns: 8, 16, 32 or 64 of them
// in a block, 128 when there are many. A block has 128 rows of weights (two warpgroups) and a part of their columns;
// one more warp keeps copies of several tiles under way, those of weights before the kernel before has ended. The
// blocks that share an output are a cluster and add their parts up in order. How the weights' columns are divided
// depends on the weights' shape alone, unless the caller lets it depend on the number of rows, and a product's column
// does not depend on the others.
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
constexpr int64_t kBlocksWanted = 132;
constexpr int64_t kSplitMax = 4;
constexpr int64_t kSplitTiles = 8;
constexpr int64_t kFewRowsMax = 128;     // with more, dividing columns costs more than it gains
constexpr int64_t kNarrowRowsMax = 256;  // with more, 128 rows share a block

template <int kColumns>
struct Product {
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

// What a block computes: tiles [begin, end) of a row of tiles, times some rows of x.
struct Part {
  int64_t tile_row;
  int64_t first_row;
  int64_t begin;
  int64_t end;
};

// The copying thread.
template <int kColumns>
__device__ void copy_tiles(typename Product<kColumns>::Shared& shared, const Fp8Rows& x, const Fp8Matrix& w,
                           const Part& part) {
  constexpr int kStages = Product<kColumns>::kStages;
  const int64_t lines_left = x.rows_padded - part.first_row;
  const auto lines = static_cast<uint32_t>(lines_left < kColumns ? lines_left : kColumns);
  const uint32_t bytes = kTileBytes + lines * (kTile + sizeof(float));
  const auto copy_weights = [&](int64_t tile, int stage) {
    barrier_arrive_expecting(&shared.full[stage], bytes);
    copy_bulk(shared.stages[stage].w, w.tiles + (part.tile_row * w.col_tiles() + tile) * kTileBytes, kTileBytes,
              &shared.full[stage]);
  };
  const auto copy_rows = [&](int64_t tile, int stage) {
    const int64_t row = tile * x.rows_padded + part.first_row;
    copy_bulk(shared.stages[stage].x, x.codes + row * kTile, lines * kTile, &shared.full[stage]);
    copy_bulk(shared.scales[stage], x.scales + row, lines * sizeof(float), &shared.full[stage]);
  };
  const int64_t count = part.end - part.begin;
  const int ahead = count < kStages ? static_cast<int>(count) : kStages;
  for (int i = 0; i < ahead; ++i) copy_weights(part.begin + i, i);
  cudaGridDependencySynchronize();
  for (int i = 0; i < ahead; ++i) copy_rows(part.begin + i, i);
  int stage = 0;
  uint32_t parity = 0;
  for (int64_t tile = part.begin + ahead; tile < part.end; ++tile) {
    barrier_wait(&shared.empty[stage], parity);
    copy_weights(tile, stage);
    copy_rows(tile, stage);
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
}

// total = a warpgroup's 64 outputs of the part.
template <int kColumns>
__device__ void sum_tiles(typename Product<kColumns>::Shared& shared, const Fp8Matrix& w, const Part& part,
                          float (&total)[kColumns / 2]) {
  constexpr int kStages = Product<kColumns>::kStages;
  const int thread = static_cast<int>(threadIdx.x);
  const int group = thread / kWarpgroup;
  const float* w_scales = w.scales + part.tile_row * w.col_tiles();
  float lane_scale = 0;  // of the tile as many after the last multiple of 32 as the lane's number
  int stage = 0;
  uint32_t parity = 0;
  for (int64_t tile = part.begin; tile < part.end; ++tile) {
    const int of_32 = static_cast<int>(tile - part.begin) % 32;
    if (of_32 == 0) lane_scale = tile + thread % 32 < part.end ? __ldg(w_scales + tile + thread % 32) : 0;
    const float w_scale = __shfl_sync(~0U, lane_scale, of_32);
    barrier_wait(&shared.full[stage], parity);
    const uint64_t a = line_operand(shared.stages[stage].w + group * (kTileBytes / 2));
    const uint64_t b = line_operand(shared.stages[stage].x);
    float products[kColumns / 2];
    product_begin();
    for (int step = 0; step < 4; ++step) Fp8Product<kColumns>::run(products, a + 2 * step, b + 2 * step, step > 0);
    product_end();
#pragma unroll
    for (int j = 0; j < kColumns / 8; ++j) {
      const float2 scale = *reinterpret_cast<const float2*>(&shared.scales[stage][8 * j + thread % 4 * 2]);
      const float2 both = {scale.x * w_scale, scale.y * w_scale};
      total[4 * j] += products[4 * j] * both.x;
      total[4 * j + 1] += products[4 * j + 1] * both.y;
      total[4 * j + 2] += products[4 * j + 2] * both.x;
      total[4 * j + 3] += products[4 * j + 3] * both.y;
    }
    asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
    if (thread % kWarpgroup == 0) barrier_arrive(&shared.empty[stage]);
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
}

// Grid: column blocks of each row of tiles, then parts of the weights' columns, which are a cluster.
template <int kColumns>
__global__ void __launch_bounds__(kThreads, Product<kColumns>::kBlocksPerSm)
    product_kernel(Fp8Rows x, int64_t rows, Fp8Matrix w, __nv_bfloat16* y, int64_t y_stride, int64_t column_blocks) {
  extern __shared__ __align__(1024) uint8_t memory[];
  auto& shared = *reinterpret_cast<typename Product<kColumns>::Shared*>(memory);
  const int thread = static_cast<int>(threadIdx.x);
  const auto cluster = cooperative_groups::this_cluster();
  const int split = static_cast<int>(gridDim.y);
  const Part part = {.tile_row = blockIdx.x / column_blocks,
                     .first_row = blockIdx.x % column_blocks * kColumns,
                     .begin = w.col_tiles() * blockIdx.y / split,
                     .end = w.col_tiles() * (blockIdx.y + 1) / split};
  if (thread == 0) {
    for (int stage = 0; stage < Product<kColumns>::kStages; ++stage) {
      barrier_init(&shared.full[stage], 1);
      barrier_init(&shared.empty[stage], 2);
    }
    barrier_init_done();
  }
  __syncthreads();
  cudaTriggerProgrammaticLaunchCompletion();

  float total[kColumns / 2] = {};
  if (thread < 2 * kWarpgroup)
    sum_tiles<kColumns>(shared, w, part, total);
  else if (thread == 2 * kWarpgroup)
    copy_tiles<kColumns>(shared, x, w, part);
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
  const int64_t rows_left = rows - part.first_row;
  const int rows_here = static_cast<int>(rows_left < kColumns ? rows_left : kColumns);
  for (int i = thread;; i += kThreads) {
    const int row = i / 16 * split + static_cast<int>(blockIdx.y);
    if (row >= rows_here) break;
    const int64_t output = part.tile_row * kTile + i % 16 * 8;
    if (output >= w.rows) continue;
    float4 parts[kSplitMax][2];
#pragma unroll
    for (int other = 0; other < kSplitMax; ++other) {
      if (other >= split) break;
      const float* from = cluster.map_shared_rank(&shared.sums[row][i % 16 * 8], static_cast<unsigned>(other));
      parts[other][0] = reinterpret_cast<const float4*>(from)[0];
      parts[other][1] = reinterpret_cast<const float4*>(from)[1];
    }
    float sums[8] = {};
#pragma unroll
    for (int other = 0; other < kSplitMax; ++other) {
      if (other >= split) break;
      const float4 low = parts[other][0];
      const float4 high = parts[other][1];
      const float values[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
      for (int k = 0; k < 8; ++k) sums[k] += values[k];
    }
    __nv_bfloat162 packed[4];
    for (int k = 0; k < 4; ++k) packed[k] = __floats2bfloat162_rn(sums[2 * k], sums[2 * k + 1]);
    *reinterpret_cast<uint4*>(y + (part.first_row + row) * y_stride + output) = *reinterpret_cast<const uint4*>(packed);
  }
  cluster.sync();  // no block ends while others read what it has
}

// Blocks that share an output: as many as make about one for each multiprocessor, each with kSplitTiles at least.
int64_t split_of(const Fp8Matrix& w) {
  int64_t split = 1;
  while (split < kSplitMax && (split + 1) * w.row_tiles() <= kBlocksWanted &&
         (split + 1) * kSplitTiles <= w.col_tiles()) {
    ++split;
  }
  return split;
}

template <int kColumns>
void launch_product(const Fp8Rows& x, int64_t rows, const Fp8Matrix& w, int64_t split, __nv_bfloat16* y,
                    int64_t y_stride, cudaStream_t stream) {
  constexpr size_t kShared = sizeof(typename Product<kColumns>::Shared);
  static const cudaError_t prepared =
      cudaFuncSetAttribute(product_kernel<kColumns>, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared);
  check(prepared, "shared memory of product_kernel");
  const int64_t column_blocks = ceil_div(rows, kColumns);
  const dim3 grid(static_cast<unsigned>(w.row_tiles() * column_blocks), static_cast<unsigned>(split));
  launch(product_kernel<kColumns>,
         {.grid = grid, .block = kThreads, .shared_bytes = kShared, .cluster_y = static_cast<unsigned>(split)}, stream,
         x, rows, w, y, y_stride, column_blocks);
}

}  // namespace

void fp8_gemm(const Fp8Rows& x, int64_t rows, const Fp8Matrix& w, __nv_bfloat16* y, int64_t y_stride, bool is_fixed,
              cudaStream_t stream) {
  if (rows == 0) return;
  const int64_t split = is_fixed || rows <= kFewRowsMax ? split_of(w) : 1;
  if (rows <= 8)
    launch_product<8>(x, rows, w, split, y, y_stride, stream);
  else if (rows <= 16)
    launch_product<16>(x, rows, w, split, y, y_stride, stream);
  else if (rows <= 32)
    launch_product<32>(x, rows, w, split, y, y_stride, stream);
  else if (rows <= kNarrowRowsMax)
    launch_product<64>(x, rows, w, split, y, y_stride, stream);
  else
    launch_product<128>(x, rows, w, split, y, y_stride, stream);
}

}  // namespace bellwether::engine::cuda
