// kernels.h: layouts, and grouping rows by expert.
#include "engine/cuda/device.cuh"
#include "engine/cuda/kernels.h"
#include "engine/cuda/launch.h"

namespace bellwether::engine::cuda {
namespace {

// One block for each tile, one thread for each 16 codes of a line, eight lines after another.
__global__ void tile_codes_kernel(const uint8_t* codes, int64_t rows, int64_t cols, int64_t stride, uint8_t* tiles,
                                  int64_t tile_row_stride) {
  cudaGridDependencySynchronize();
  const int64_t tile = blockIdx.y * tile_row_stride * gridDim.x + blockIdx.x;
  uint8_t* to = tiles + tile * kTileBytes;
  for (int64_t i = threadIdx.x; i < kTileBytes; i += blockDim.x) {
    const int64_t row = blockIdx.y * kTile + i / kTile;
    const int64_t col = blockIdx.x * kTile + i % kTile;
    to[swizzled(i / kTile, i % kTile)] = row < rows && col < cols ? codes[row * stride + col] : 0;
  }
}

__global__ void unpack_kernel(Fp8Matrix matrix, __nv_bfloat16* w) {
  cudaGridDependencySynchronize();
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= matrix.rows * matrix.cols) return;
  const int64_t row = i / matrix.cols;
  const int64_t col = i % matrix.cols;
  const float scale = matrix.scales[row / kTile * matrix.col_tiles() + col / kTile];
  w[i] = __float2bfloat16(float_of_code(matrix.tiles[matrix.offset(row, col)]) * scale);
}

// One warp for each 128 columns of a row, four columns for each thread.
__global__ void quantise_kernel(const __nv_bfloat16* x, int64_t rows, int64_t x_stride, Fp8Rows codes) {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  const int64_t row = blockIdx.y;
  const int64_t first = int64_t{blockIdx.x} * kTile + threadIdx.x * 4;
  float values[4];
  float largest = 0;
  for (int i = 0; i < 4; ++i) {
    values[i] = first + i < codes.cols ? __bfloat162float(x[row * x_stride + first + i]) : 0;
    largest = fmaxf(largest, fabsf(values[i]));
  }
  const float scale = scale_for(warp_max(largest));
  uint32_t packed = 0;
  for (int i = 0; i < 4; ++i) packed |= uint32_t{code_of(values[i] / scale)} << (8 * i);
  *reinterpret_cast<uint32_t*>(codes.codes + codes.offset(row, first)) = packed;
  if (threadIdx.x == 0) codes.scales[codes.scale_offset(row, first)] = scale;
}

constexpr int kGroupThreads = 1024;
constexpr int kExpertsMax = kGroupThreads;

// One block: counts each expert's rows, gives the experts slots, one after another, then the rows places in these.
__global__ void group_kernel(const ExpertChoice* choices, int64_t every_row, ExpertPlan plan) {
  __shared__ int32_t count[kExpertsMax];
  __shared__ int32_t next[kExpertsMax];
  __shared__ int2 of_warps[kGroupThreads / 32];
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  const int64_t routed = plan.choices - every_row;
  const auto expert_of = [&](int64_t i) {  // of choice i of all
    const int64_t row = i / plan.choices;
    const int64_t choice = i % plan.choices;
    return choice < routed ? choices[row * routed + choice].expert
                           : static_cast<int32_t>(plan.experts - every_row + choice - routed);
  };
  for (int64_t e = threadIdx.x; e < plan.experts; e += kGroupThreads) count[e] = 0;
  for (int64_t slot = threadIdx.x; slot < plan.slots_max(); slot += kGroupThreads) plan.slot_row[slot] = -1;
  __syncthreads();
  const int64_t all = plan.rows * plan.choices;
  for (int64_t i = threadIdx.x; i < all; i += kGroupThreads) atomicAdd(&count[expert_of(i)], 1);
  __syncthreads();
  // A thread for each expert: how many slots and tiles those before it take.
  const int32_t expert = static_cast<int32_t>(threadIdx.x);
  const int32_t rows = expert < plan.experts ? count[expert] : 0;
  const int2 own = {static_cast<int32_t>(round_up(rows, 8)), static_cast<int32_t>(ceil_div(rows, kExpertTileRows))};
  int2 sum = own;
  for (int step = 1; step < 32; step *= 2) {
    const int2 lower = {__shfl_up_sync(~0U, sum.x, step), __shfl_up_sync(~0U, sum.y, step)};
    if (expert % 32 >= step) sum = {sum.x + lower.x, sum.y + lower.y};
  }
  if (expert % 32 == 31) of_warps[expert / 32] = sum;
  __syncthreads();
  for (int warp = 0; warp < expert / 32; ++warp) sum = {sum.x + of_warps[warp].x, sum.y + of_warps[warp].y};
  if (expert == kGroupThreads - 1) *plan.tile_count = sum.y;
  if (rows > 0) {
    const int32_t slot = sum.x - own.x;
    next[expert] = slot;
    for (int32_t begin = 0; begin < rows; begin += kExpertTileRows) {
      const int32_t left = rows - begin;
      plan.tiles[sum.y - own.y + begin / kExpertTileRows] = {
          expert, slot + begin, left < kExpertTileRows ? left : static_cast<int32_t>(kExpertTileRows), 0};
    }
  }
  __syncthreads();
  for (int64_t i = threadIdx.x; i < all; i += kGroupThreads) {
    const int64_t row = i / plan.choices;
    const int64_t choice = i % plan.choices;
    const int32_t slot = atomicAdd(&next[expert_of(i)], 1);
    plan.slot_row[slot] = static_cast<int32_t>(row);
    plan.slot_weight[slot] = choice < routed ? choices[row * routed + choice].weight : 1;
    plan.choice_slot[i] = slot;
  }
}

// One thread for eight columns of a row.
__global__ void combine_kernel(ExpertPlan plan, const __nv_bfloat16* y, int64_t hidden, __nv_bfloat16* out) {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  const int64_t row = blockIdx.y;
  const int64_t column = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * 8;
  if (column >= hidden) return;
  float sums[8] = {};
  for (int64_t choice = 0; choice < plan.choices; ++choice) {
    const int64_t slot = plan.choice_slot[row * plan.choices + choice];
    const uint4 packed = *reinterpret_cast<const uint4*>(y + slot * hidden + column);
    const auto* values = reinterpret_cast<const __nv_bfloat16*>(&packed);
    for (int i = 0; i < 8; ++i) sums[i] += __bfloat162float(values[i]);
  }
  uint4 packed;
  auto* values = reinterpret_cast<__nv_bfloat16*>(&packed);
  for (int i = 0; i < 8; ++i) values[i] = __float2bfloat16(sums[i]);
  *reinterpret_cast<uint4*>(out + row * hidden + column) = packed;
}

// One block for each token.
__global__ void gather_kernel(KvPages pages, const int32_t* page_table, int64_t begin, int64_t latent,
                              __nv_bfloat16* latents, __nv_bfloat16* k_rope) {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  const int64_t position = begin + blockIdx.x;
  const int64_t page = page_table[position / kPageTokens];
  const int64_t rope = pages.width - latent;
  for (int64_t column = threadIdx.x; column < pages.width; column += blockDim.x) {
    const auto value =
        *reinterpret_cast<const __nv_bfloat16*>(pages.data + pages.offset(page, position % kPageTokens, column));
    if (column < latent)
      latents[blockIdx.x * latent + column] = value;
    else
      k_rope[blockIdx.x * rope + column - latent] = value;
  }
}

}  // namespace

void tile_codes(const uint8_t* codes, int64_t rows, int64_t cols, int64_t stride, uint8_t* tiles,
                int64_t tile_row_stride, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(ceil_div(cols, kTile)), static_cast<unsigned>(ceil_div(rows, kTile)));
  launch(tile_codes_kernel, {.grid = grid, .block = 256}, stream, codes, rows, cols, stride, tiles, tile_row_stride);
}

void unpack_matrix(const Fp8Matrix& matrix, __nv_bfloat16* w, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(ceil_div(matrix.rows * matrix.cols, 256)));
  launch(unpack_kernel, {.grid = grid, .block = 256}, stream, matrix, w);
}

void quantise_rows(const __nv_bfloat16* x, int64_t rows, int64_t x_stride, const Fp8Rows& codes, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(codes.col_tiles()), static_cast<unsigned>(rows));
  launch(quantise_kernel, {.grid = grid, .block = 32}, stream, x, rows, x_stride, codes);
}

void group_rows(const ExpertChoice* choices, int64_t every_row, const ExpertPlan& plan, cudaStream_t stream) {
  if (plan.experts > kExpertsMax) throw CudaError("group_rows: more than 1024 experts");
  launch(group_kernel, {.grid = 1, .block = kGroupThreads}, stream, choices, every_row, plan);
}

void experts_combine(const ExpertPlan& plan, const __nv_bfloat16* y, int64_t hidden, __nv_bfloat16* out,
                     cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(ceil_div(hidden, 8 * 128)), static_cast<unsigned>(plan.rows));
  launch(combine_kernel, {.grid = grid, .block = 128}, stream, plan, y, hidden, out);
}

void gather_latents(const KvPages& pages, const int32_t* page_table, int64_t begin, int64_t count, int64_t latent,
                    __nv_bfloat16* latents, __nv_bfloat16* k_rope, cudaStream_t stream) {
  if (count == 0) return;
  const dim3 grid(static_cast<unsigned>(count));
  launch(gather_kernel, {.grid = grid, .block = 128}, stream, pages, page_table, begin, latent, latents, k_rope);
}

}  // namespace bellwether::engine::cuda
