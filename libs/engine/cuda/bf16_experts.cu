#include "engine/cuda/bf16_experts.h"
#include "engine/cuda/device.cuh"
#include "engine/cuda/launch.h"

namespace bellwether::engine::cuda {
namespace {

constexpr int kWarps = 8;

// The sum over the columns, for every lane.
__device__ float dot(const __nv_bfloat16* a, const __nv_bfloat16* b, int64_t cols) {
  float sum = 0;
  for (int64_t c = threadIdx.x % 32; c < cols; c += 32) sum += __bfloat162float(a[c]) * __bfloat162float(b[c]);
  return warp_sum(sum);
}

// One warp for each output of a tile.
__global__ void gate_up_kernel(Bf16Experts experts, ExpertPlan plan, const __nv_bfloat16* x, __nv_bfloat16* inner) {
  cudaGridDependencySynchronize();
  if (blockIdx.x >= *plan.tile_count) return;
  const ExpertTile tile = plan.tiles[blockIdx.x];
  const int64_t output = int64_t{blockIdx.y} * kWarps + threadIdx.x / 32;
  if (output >= experts.inner) return;
  const __nv_bfloat16* gate = experts.gate_up + (2 * tile.expert * experts.inner + output) * experts.hidden;
  const __nv_bfloat16* up = gate + experts.inner * experts.hidden;
  for (int64_t slot = tile.slot; slot < tile.slot + tile.rows; ++slot) {
    const __nv_bfloat16* row = x + plan.slot_row[slot] * experts.hidden;
    const float value = silu(dot(gate, row, experts.hidden)) * dot(up, row, experts.hidden);
    if (threadIdx.x % 32 == 0) inner[slot * experts.inner + output] = __float2bfloat16(value);
  }
}

__global__ void down_kernel(Bf16Experts experts, ExpertPlan plan, const __nv_bfloat16* inner, __nv_bfloat16* y) {
  cudaGridDependencySynchronize();
  if (blockIdx.x >= *plan.tile_count) return;
  const ExpertTile tile = plan.tiles[blockIdx.x];
  const int64_t output = int64_t{blockIdx.y} * kWarps + threadIdx.x / 32;
  if (output >= experts.hidden) return;
  const __nv_bfloat16* down = experts.down + (tile.expert * experts.hidden + output) * experts.inner;
  for (int64_t slot = tile.slot; slot < tile.slot + tile.rows; ++slot) {
    const float value = plan.slot_weight[slot] * dot(down, inner + slot * experts.inner, experts.inner);
    if (threadIdx.x % 32 == 0) y[slot * experts.hidden + output] = __float2bfloat16(value);
  }
}

LaunchShape shape_of(const ExpertPlan& plan, int64_t outputs) {
  return {.grid = dim3(static_cast<unsigned>(plan.tiles_max()), static_cast<unsigned>(ceil_div(outputs, kWarps))),
          .block = 32 * kWarps};
}

}  // namespace

void experts_gate_up(const Bf16Experts& experts, const ExpertPlan& plan, const __nv_bfloat16* x, __nv_bfloat16* inner,
                     cudaStream_t stream) {
  launch(gate_up_kernel, shape_of(plan, experts.inner), stream, experts, plan, x, inner);
}

void experts_down(const Bf16Experts& experts, const ExpertPlan& plan, const __nv_bfloat16* inner, __nv_bfloat16* y,
                  cudaStream_t stream) {
  launch(down_kernel, shape_of(plan, experts.hidden), stream, experts, plan, inner, y);
}

}  // namespace bellwether::engine::cuda
