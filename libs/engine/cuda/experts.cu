// The experts' products. Few rows each, so the time is that of reading the weights of those experts that have any: as
// in gemm.cu the weights are the 64-row side of the tensor cores' product, copied some tiles ahead by a warp of its
// own.
#include <cooperative_groups.h>

#include <algorithm>
#include <type_traits>

#include "engine/cuda/device.cuh"
#include "engine/cuda/hopper.cuh"
#include "engine/cuda/kernels.h"
#include "engine/cuda/launch.h"

namespace bellwether::engine::cuda {
namespace {

constexpr int kWarpgroup = 128;
constexpr int kThreads = 2 * kWarpgroup + 32;
constexpr int64_t kSplitMax = 8;

// kColumns: as many rows as a block can take, which its shared memory is made for. Most experts have fewer; the product
// is as wide as it must be.
template <int kColumns>
struct GateUp {
  static constexpr int kStages = kColumns == 64 ? 5 : 3;
  static constexpr int kBlocksPerSm = kColumns == 64 ? 1 : 2;
  static constexpr int kSumStride = 2 * static_cast<int>(kTile) + 4;  // floats; keeps banks apart
  struct Stage {
    uint8_t gate[kTileBytes];
    uint8_t up[kTileBytes];
    uint8_t x[kColumns * kTile];
  };
  struct alignas(1024) Shared {
    union {
      Stage stages[kStages];
      float sums[kColumns][kSumStride];  // gate, then up
    };
    float scales[kStages][kColumns];
    int32_t rows[kColumns];
    uint64_t full[kStages];
    uint64_t empty[kStages];
  };
};

__device__ inline void sync_warpgroup(int group) {
  asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
}

// Adds a part's sums, scaled, to the total.
template <int kColumns>
__device__ void add_scaled(const float (&part)[kColumns / 2], const float* scales, float w_scale,
                           float (&total)[kColumns / 2]) {
  const int lane_column = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int j = 0; j < kColumns / 8; ++j) {
    const float2 scale = *reinterpret_cast<const float2*>(scales + 8 * j + lane_column);
    const float2 both = {scale.x * w_scale, scale.y * w_scale};
    total[4 * j] += part[4 * j] * both.x;
    total[4 * j + 1] += part[4 * j + 1] * both.y;
    total[4 * j + 2] += part[4 * j + 2] * both.x;
    total[4 * j + 3] += part[4 * j + 3] * both.y;
  }
}

template <int kColumns>
__device__ void multiply(const uint8_t* w, const uint8_t* x, float (&part)[kColumns / 2]) {
  const uint64_t a = line_operand(w);
  const uint64_t b = line_operand(x);
  product_begin();
  for (int step = 0; step < 4; ++step) Fp8Product<kColumns>::run(part, a + 2 * step, b + 2 * step, step > 0);
  product_end();
}

// Puts the sums of a warpgroup's 64 outputs where sums[column * stride + output] is.
template <int kColumns>
__device__ void put_sums(const float (&total)[kColumns / 2], float* sums, int stride) {
  const int thread = static_cast<int>(threadIdx.x);
  const int output = thread % kWarpgroup / 32 * 16 + thread % 32 / 4;
#pragma unroll
  for (int j = 0; j < kColumns / 8; ++j) {
    for (int i = 0; i < 4; ++i) {
      sums[(8 * j + thread % 4 * 2 + i % 2) * stride + output + i / 2 * 8] = total[4 * j + i];
    }
  }
}

// Both warpgroups: 64 rows of gate and 64 of up each, products of kColumns columns.
template <int kColumns, class Shared>
__device__ void gate_up_sums(Shared& shared, int stages, const Fp8Matrix& w, int64_t inner_tile, int64_t begin,
                             int64_t end) {
  const int group = static_cast<int>(threadIdx.x) / kWarpgroup;
  const float* gate_scales = w.scales + 2 * inner_tile * w.col_tiles();
  const float* up_scales = gate_scales + w.col_tiles();
  float gate[kColumns / 2] = {};
  float up[kColumns / 2] = {};
  int stage = 0;
  uint32_t parity = 0;
  for (int64_t tile = begin; tile < end; ++tile) {
    const float gate_scale = __ldg(gate_scales + tile);
    const float up_scale = __ldg(up_scales + tile);
    barrier_wait(&shared.full[stage], parity);
    float part[kColumns / 2];
    multiply<kColumns>(shared.stages[stage].gate + group * (kTileBytes / 2), shared.stages[stage].x, part);
    add_scaled<kColumns>(part, shared.scales[stage], gate_scale, gate);
    multiply<kColumns>(shared.stages[stage].up + group * (kTileBytes / 2), shared.stages[stage].x, part);
    add_scaled<kColumns>(part, shared.scales[stage], up_scale, up);
    sync_warpgroup(group);
    if (threadIdx.x % kWarpgroup == 0) barrier_arrive(&shared.empty[stage]);
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
  asm volatile("bar.sync 3, 256;" ::: "memory");  // all stages have been read
  put_sums<kColumns>(gate, &shared.sums[0][group * 64], Shared::kStride);
  put_sums<kColumns>(up, &shared.sums[0][kTile + group * 64], Shared::kStride);
}

template <int kColumns>
struct GateUpShared : GateUp<kColumns>::Shared {
  static constexpr int kStride = GateUp<kColumns>::kSumStride;
};

// The copying warp: tiles of weights by bulk copies, the expert's rows of x from where the batch has them.
template <int kColumns>
__device__ void gate_up_copies(GateUpShared<kColumns>& shared, const Fp8Matrix& w, int64_t inner_tile, const Fp8Rows& x,
                               int rows, int64_t begin, int64_t end) {
  constexpr int kStages = GateUp<kColumns>::kStages;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const uint8_t* gate = w.tiles + 2 * inner_tile * w.col_tiles() * kTileBytes;
  const uint8_t* up = gate + w.col_tiles() * kTileBytes;
  int stage = 0;
  uint32_t parity = 1;
  for (int64_t tile = begin; tile < end; ++tile) {
    barrier_wait(&shared.empty[stage], parity);
    auto& to = shared.stages[stage];
    if (lane == 0) {
      barrier_arrive_expecting(&shared.full[stage], 2 * kTileBytes);
      copy_bulk(to.gate, gate + tile * kTileBytes, kTileBytes, &shared.full[stage]);
      copy_bulk(to.up, up + tile * kTileBytes, kTileBytes, &shared.full[stage]);
    }
    const uint8_t* codes = x.codes + tile * x.rows_padded * kTile;
#pragma unroll 4
    for (int i = lane; i < rows * 8; i += 32) {  // groups of 16 codes
      const int row = shared.rows[i / 8];
      *reinterpret_cast<uint4*>(to.x + swizzled(i / 8, i % 8 * 16)) =
          *reinterpret_cast<const uint4*>(codes + swizzled(row, i % 8 * 16));
    }
    for (int i = lane; i < rows; i += 32) {
      shared.scales[stage][i] = x.scales[tile * x.rows_padded + shared.rows[i]];
    }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncwarp();
    if (lane == 0) barrier_arrive(&shared.full[stage]);
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
}

template <int kColumns>
__global__ void __launch_bounds__(kThreads, GateUp<kColumns>::kBlocksPerSm)
    gate_up_kernel(Experts experts, ExpertPlan plan, Fp8Rows x, Fp8Rows inner) {
  constexpr int kStages = GateUp<kColumns>::kStages;
  extern __shared__ __align__(1024) uint8_t memory[];
  auto& shared = *reinterpret_cast<GateUpShared<kColumns>*>(memory);
  const int thread = static_cast<int>(threadIdx.x);
  const auto cluster = cooperative_groups::this_cluster();
  if (thread == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      barrier_init(&shared.full[stage], 2);
      barrier_init(&shared.empty[stage], 2);
    }
    barrier_init_done();
  }
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  const int64_t inner_tile = blockIdx.x % experts.inner_tiles();
  const int64_t index = blockIdx.x / experts.inner_tiles();
  if (index >= *plan.tile_count) return;  // the whole cluster
  const ExpertTile tile = plan.tiles[index];
  const Fp8Matrix w = experts.gate_up_of(tile.expert);
  for (int i = thread; i < tile.rows; i += kThreads) shared.rows[i] = plan.slot_row[tile.slot + i];
  __syncthreads();

  const int split = static_cast<int>(gridDim.y);
  const int64_t begin = w.col_tiles() * blockIdx.y / split;
  const int64_t end = w.col_tiles() * (blockIdx.y + 1) / split;
  if (thread >= 2 * kWarpgroup) {
    gate_up_copies<kColumns>(shared, w, inner_tile, x, tile.rows, begin, end);
  } else if (tile.rows <= 8) {
    gate_up_sums<8>(shared, kStages, w, inner_tile, begin, end);
  } else if (tile.rows <= 16) {
    gate_up_sums<16>(shared, kStages, w, inner_tile, begin, end);
  } else if (kColumns == 32 || tile.rows <= 32) {
    gate_up_sums<32>(shared, kStages, w, inner_tile, begin, end);
  } else {
    gate_up_sums<kColumns>(shared, kStages, w, inner_tile, begin, end);
  }
  cluster.sync();

  // One warp for a row's 128 inner values, four for each thread; this block takes every split-th row.
  const int lane = thread % 32;
  for (int row = static_cast<int>(blockIdx.y) + thread / 32 * split; row < tile.rows; row += kThreads / 32 * split) {
    float gate[4] = {};
    float up[4] = {};
    for (int other = 0; other < split; ++other) {
      const float* from = cluster.map_shared_rank(&shared.sums[row][0], static_cast<unsigned>(other));
      const float4 gates = *reinterpret_cast<const float4*>(from + 4 * lane);
      const float4 ups = *reinterpret_cast<const float4*>(from + kTile + 4 * lane);
      gate[0] += gates.x, gate[1] += gates.y, gate[2] += gates.z, gate[3] += gates.w;
      up[0] += ups.x, up[1] += ups.y, up[2] += ups.z, up[3] += ups.w;
    }
    float values[4];
    float largest = 0;
    for (int i = 0; i < 4; ++i) {
      values[i] = silu(gate[i]) * up[i];
      largest = fmaxf(largest, fabsf(values[i]));
    }
    const float scale = scale_for(warp_max(largest));
    uint32_t packed = 0;
    for (int i = 0; i < 4; ++i) packed |= uint32_t{code_of(values[i] / scale)} << (8 * i);
    const int64_t slot = tile.slot + row;
    *reinterpret_cast<uint32_t*>(inner.codes + inner.offset(slot, inner_tile * kTile + 4 * lane)) = packed;
    if (lane == 0) inner.scales[inner.scale_offset(slot, inner_tile * kTile)] = scale;
  }
  cluster.sync();  // no block ends while others read what it has
}

template <int kColumns>
struct Down {
  static constexpr int kStages = kColumns == 64 ? 3 : 4;
  static constexpr int kSumStride = 64 + 4;  // floats; keeps banks apart
  struct Stage {
    uint8_t w[kTileBytes];
    uint8_t x[kColumns * kTile];
  };
  struct alignas(1024) Shared {
    Stage stages[kStages];
    float sums[2][kColumns][kSumStride];  // of each warpgroup
    float scales[kStages][kColumns];
    uint64_t full[kStages];
    uint64_t empty[kStages];
  };
};

// Both warpgroups: 64 outputs each of the tiles of outputs [first, last).
template <int kColumns, class Shared>
__device__ void down_sums(Shared& shared, int stages, const ExpertTile& tile, const Fp8Matrix& w, int64_t first,
                          int64_t last, const float* slot_weights, __nv_bfloat16* y) {
  const int thread = static_cast<int>(threadIdx.x);
  const int group = thread / kWarpgroup;
  int stage = 0;
  uint32_t parity = 0;
  for (int64_t row_tile = first; row_tile < last; ++row_tile) {
    float total[kColumns / 2] = {};
    for (int64_t col_tile = 0; col_tile < w.col_tiles(); ++col_tile) {
      const float w_scale = __ldg(w.scales + row_tile * w.col_tiles() + col_tile);
      barrier_wait(&shared.full[stage], parity);
      float part[kColumns / 2];
      multiply<kColumns>(shared.stages[stage].w + group * (kTileBytes / 2), shared.stages[stage].x, part);
      add_scaled<kColumns>(part, shared.scales[stage], w_scale, total);
      sync_warpgroup(group);
      if (thread % kWarpgroup == 0) barrier_arrive(&shared.empty[stage]);
      if (++stage == stages) {
        stage = 0;
        parity ^= 1;
      }
    }
    put_sums<kColumns>(total, &shared.sums[group][0][0], std::extent_v<decltype(shared.sums), 2>);
    sync_warpgroup(group);
    const int64_t output = row_tile * kTile + group * 64 + thread % 8 * 8;
    for (int row = thread % kWarpgroup / 8; row < tile.rows && output < w.rows; row += kWarpgroup / 8) {
      const float weight = slot_weights[tile.slot + row];
      const float* sums = &shared.sums[group][row][thread % 8 * 8];
      __nv_bfloat162 packed[4];
      for (int k = 0; k < 4; ++k) packed[k] = __floats2bfloat162_rn(weight * sums[2 * k], weight * sums[2 * k + 1]);
      *reinterpret_cast<uint4*>(y + (tile.slot + row) * w.rows + output) = *reinterpret_cast<const uint4*>(packed);
    }
    sync_warpgroup(group);
  }
}

template <int kColumns>
__global__ void __launch_bounds__(kThreads, 2)
    down_kernel(Experts experts, ExpertPlan plan, Fp8Rows inner, __nv_bfloat16* y, int64_t tiles_each) {
  constexpr int kStages = Down<kColumns>::kStages;
  extern __shared__ __align__(1024) uint8_t memory[];
  auto& shared = *reinterpret_cast<typename Down<kColumns>::Shared*>(memory);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      barrier_init(&shared.full[stage], 1);
      barrier_init(&shared.empty[stage], 2);
    }
    barrier_init_done();
  }
  __syncthreads();
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  if (blockIdx.y >= *plan.tile_count) return;
  const ExpertTile tile = plan.tiles[blockIdx.y];
  const Fp8Matrix w = experts.down_of(tile.expert);
  const int64_t first = blockIdx.x * tiles_each;
  const int64_t last = first + tiles_each < w.row_tiles() ? first + tiles_each : w.row_tiles();
  if (thread >= 2 * kWarpgroup) {
    if (thread > 2 * kWarpgroup) return;
    const auto lines = static_cast<uint32_t>(round_up(tile.rows, 8));
    int stage = 0;
    uint32_t parity = 1;
    for (int64_t i = first * w.col_tiles(); i < last * w.col_tiles(); ++i) {
      const int64_t col_tile = i % w.col_tiles();
      barrier_wait(&shared.empty[stage], parity);
      barrier_arrive_expecting(&shared.full[stage], kTileBytes + lines * (kTile + sizeof(float)));
      copy_bulk(shared.stages[stage].w, w.tiles + i * kTileBytes, kTileBytes, &shared.full[stage]);
      copy_bulk(shared.stages[stage].x, inner.codes + (col_tile * inner.rows_padded + tile.slot) * kTile, lines * kTile,
                &shared.full[stage]);
      copy_bulk(shared.scales[stage], inner.scales + col_tile * inner.rows_padded + tile.slot, lines * sizeof(float),
                &shared.full[stage]);
      if (++stage == kStages) {
        stage = 0;
        parity ^= 1;
      }
    }
  } else if (tile.rows <= 8) {
    down_sums<8>(shared, kStages, tile, w, first, last, plan.slot_weight, y);
  } else if (tile.rows <= 16) {
    down_sums<16>(shared, kStages, tile, w, first, last, plan.slot_weight, y);
  } else if (kColumns == 32 || tile.rows <= 32) {
    down_sums<32>(shared, kStages, tile, w, first, last, plan.slot_weight, y);
  } else {
    down_sums<kColumns>(shared, kStages, tile, w, first, last, plan.slot_weight, y);
  }
}

// Blocks that share an output: enough for the GPU when eight experts are busy, or all of a few.
int64_t split_of(const Experts& experts) {
  const int64_t busy = std::min<int64_t>(experts.experts, 8);
  const int64_t tiles = ceil_div(experts.hidden, kTile);
  const int64_t wanted = experts.experts > 8 ? 64 : 264;
  int64_t split = 1;
  while (2 * split <= kSplitMax && 2 * split * busy * experts.inner_tiles() <= wanted && 4 * split <= tiles) split *= 2;
  return split;
}

template <int kColumns>
void launch_gate_up(const Experts& experts, const ExpertPlan& plan, const Fp8Rows& x, const Fp8Rows& inner,
                    cudaStream_t stream) {
  constexpr size_t kShared = sizeof(GateUpShared<kColumns>);
  static const cudaError_t prepared =
      cudaFuncSetAttribute(gate_up_kernel<kColumns>, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared);
  check(prepared, "shared memory of gate_up_kernel");
  const auto split = static_cast<unsigned>(split_of(experts));
  const dim3 grid(static_cast<unsigned>(plan.tiles_max() * experts.inner_tiles()), split);
  launch(gate_up_kernel<kColumns>, {.grid = grid, .block = kThreads, .shared_bytes = kShared, .cluster_y = split},
         stream, experts, plan, x, inner);
}

template <int kColumns>
void launch_down(const Experts& experts, const ExpertPlan& plan, const Fp8Rows& inner, __nv_bfloat16* y,
                 cudaStream_t stream) {
  constexpr size_t kShared = sizeof(typename Down<kColumns>::Shared);
  static const cudaError_t prepared =
      cudaFuncSetAttribute(down_kernel<kColumns>, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared);
  check(prepared, "shared memory of down_kernel");
  const int64_t row_tiles = ceil_div(experts.hidden, kTile);
  const int64_t tiles_each = std::max<int64_t>(1, (plan.busy_max() <= 16 ? 4 : 8) / experts.inner_tiles());
  const dim3 grid(static_cast<unsigned>(ceil_div(row_tiles, tiles_each)), static_cast<unsigned>(plan.tiles_max()));
  launch(down_kernel<kColumns>, {.grid = grid, .block = kThreads, .shared_bytes = kShared}, stream, experts, plan,
         inner, y, tiles_each);
}

}  // namespace

void experts_gate_up(const Experts& experts, const ExpertPlan& plan, const Fp8Rows& x, const Fp8Rows& inner,
                     cudaStream_t stream) {
  launch_gate_up<kExpertTileRows>(experts, plan, x, inner, stream);
}

void experts_down(const Experts& experts, const ExpertPlan& plan, const Fp8Rows& inner, __nv_bfloat16* y,
                  cudaStream_t stream) {
  launch_down<kExpertTileRows>(experts, plan, inner, y, stream);
}

}  // namespace bellwether::engine::cuda
