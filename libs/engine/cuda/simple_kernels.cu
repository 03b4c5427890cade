#include "engine/cuda/device.cuh"
#include "engine/cuda/launch.h"
#include "engine/cuda/simple_kernels.h"

namespace bellwether::engine::cuda::simple {
namespace {

constexpr int kThreads = 128;

dim3 blocks(int64_t results) {
  return dim3(static_cast<unsigned>(ceil_div(results, kThreads)));
}

__device__ int64_t thread_index() {
  return int64_t{blockIdx.x} * kThreads + threadIdx.x;
}

// Row `row` of x times row `output` of w.
__device__ float dot(const Fp8Rows& x, int64_t row, const Fp8Matrix& w, int64_t output) {
  float sum = 0;
  for (int64_t tile = 0; tile < w.col_tiles(); ++tile) {
    float part = 0;
    for (int64_t col = tile * kTile; col < (tile + 1) * kTile; ++col) {
      part += float_of_code(x.codes[x.offset(row, col)]) * float_of_code(w.tiles[w.offset(output, col)]);
    }
    sum += part * x.scales[x.scale_offset(row, tile * kTile)] * w.scales[output / kTile * w.col_tiles() + tile];
  }
  return sum;
}

__global__ void fp8_gemm_kernel(Fp8Rows x, int64_t rows, Fp8Matrix w, __nv_bfloat16* y, int64_t y_stride) {
  cudaGridDependencySynchronize();
  const int64_t i = thread_index();
  if (i >= rows * w.rows) return;
  const int64_t row = i / w.rows;
  const int64_t output = i % w.rows;
  y[row * y_stride + output] = __float2bfloat16(dot(x, row, w, output));
}

// One block for each 128 inner values of a tile's row, one thread for each of them.
__global__ void gate_up_kernel(Experts experts, ExpertPlan plan, Fp8Rows x, Fp8Rows inner) {
  cudaGridDependencySynchronize();
  if (blockIdx.x >= *plan.tile_count) return;
  const ExpertTile tile = plan.tiles[blockIdx.x];
  const Fp8Matrix w = experts.gate_up_of(tile.expert);
  const int64_t inner_tile = blockIdx.y;
  const int64_t lane = threadIdx.x;
  __shared__ float largest[kThreads / 32];
  for (int64_t i = 0; i < tile.rows; ++i) {
    const int64_t slot = tile.slot + i;
    const int64_t row = plan.slot_row[slot];
    const float gate = dot(x, row, w, 2 * inner_tile * kTile + lane);
    const float up = dot(x, row, w, (2 * inner_tile + 1) * kTile + lane);
    const float value = silu(gate) * up;
    const float of_warp = warp_max(fabsf(value));
    __syncthreads();
    if (lane % 32 == 0) largest[lane / 32] = of_warp;
    __syncthreads();
    const float scale = scale_for(fmaxf(fmaxf(largest[0], largest[1]), fmaxf(largest[2], largest[3])));
    inner.codes[inner.offset(slot, inner_tile * kTile + lane)] = code_of(value / scale);
    if (lane == 0) inner.scales[inner.scale_offset(slot, inner_tile * kTile)] = scale;
  }
}

__global__ void down_kernel(Experts experts, ExpertPlan plan, Fp8Rows inner, __nv_bfloat16* y) {
  cudaGridDependencySynchronize();
  if (blockIdx.y >= *plan.tile_count) return;
  const ExpertTile tile = plan.tiles[blockIdx.y];
  const Fp8Matrix w = experts.down_of(tile.expert);
  const int64_t output = thread_index();
  if (output >= experts.hidden) return;
  for (int64_t slot = tile.slot; slot < tile.slot + tile.rows; ++slot) {
    y[slot * experts.hidden + output] = __float2bfloat16(plan.slot_weight[slot] * dot(inner, slot, w, output));
  }
}

__global__ void absorb_kernel(LatentShape shape, const __nv_bfloat16* q, int64_t rows, const __nv_bfloat16* kv_b,
                              __nv_bfloat16* out) {
  cudaGridDependencySynchronize();
  const int64_t width = shape.latent + shape.rope;
  const int64_t i = thread_index();
  if (i >= rows * shape.heads * width) return;
  const int64_t column = i % width;
  const int64_t head = i / width % shape.heads;
  const __nv_bfloat16* query = q + i / width * (shape.nope + shape.rope);
  if (column >= shape.latent) {
    out[i] = query[shape.nope + column - shape.latent];
    return;
  }
  const __nv_bfloat16* w = kv_b + head * (shape.nope + shape.v) * shape.latent + column;
  float sum = 0;
  for (int64_t k = 0; k < shape.nope; ++k) sum += __bfloat162float(query[k]) * __bfloat162float(w[k * shape.latent]);
  out[i] = __float2bfloat16(sum);
}

__global__ void expand_kernel(LatentShape shape, const __nv_bfloat16* latents, int64_t rows, const __nv_bfloat16* kv_b,
                              __nv_bfloat16* out) {
  cudaGridDependencySynchronize();
  const int64_t i = thread_index();
  if (i >= rows * shape.heads * shape.v) return;
  const int64_t head = i / shape.v % shape.heads;
  const __nv_bfloat16* x = latents + i / shape.v * shape.latent;
  const __nv_bfloat16* w = kv_b + (head * (shape.nope + shape.v) + shape.nope + i % shape.v) * shape.latent;
  float sum = 0;
  for (int64_t k = 0; k < shape.latent; ++k) sum += __bfloat162float(x[k]) * __bfloat162float(w[k]);
  out[i] = __float2bfloat16(sum);
}

// One warp for each row and head, twice over the keys: the largest score, then the sums. Shared memory: the sums.
__global__ void decode_kernel(LatentShape shape, DecodeInput input, __nv_bfloat16* out) {
  cudaGridDependencySynchronize();
  extern __shared__ float sums[];  // (latent)
  const int64_t row = blockIdx.x;
  const int64_t head = blockIdx.y;
  const int64_t width = shape.latent + shape.rope;
  const __nv_bfloat16* q = input.q + (row * shape.heads + head) * width;
  const int lane = static_cast<int>(threadIdx.x);
  for (int64_t c = lane; c < shape.latent; c += 32) sums[c] = 0;
  const auto value = [&](int64_t position, int64_t column) {
    const int64_t page = input.page_table[row * input.table_stride + position / kPageTokens];
    return __bfloat162float(*reinterpret_cast<const __nv_bfloat16*>(
        input.pages.data + input.pages.offset(page, position % kPageTokens, column)));
  };
  const auto score = [&](int64_t position) {
    float sum = 0;
    for (int64_t c = lane; c < width; c += 32) sum += __bfloat162float(q[c]) * value(position, c);
    return warp_sum(sum) * input.scale;
  };
  float largest = -INFINITY;
  for (int64_t position = 0; position < input.lengths[row]; ++position) largest = fmaxf(largest, score(position));
  float total = 0;
  for (int64_t position = 0; position < input.lengths[row]; ++position) {
    const float weight = __expf(score(position) - largest);
    total += weight;
    for (int64_t c = lane; c < shape.latent; c += 32) sums[c] += weight * value(position, c);
  }
  for (int64_t c = lane; c < shape.latent; c += 32) {
    out[(row * shape.heads + head) * shape.latent + c] = __float2bfloat16(total > 0 ? sums[c] / total : 0);
  }
}

// One warp for each row and head. The state is (rows, H, v + 2): sums, largest score, sum of weights.
__global__ void prefill_kernel(LatentShape shape, PrefillInput input, float* state, __nv_bfloat16* out) {
  cudaGridDependencySynchronize();
  extern __shared__ float sums[];  // (v)
  const int64_t row = blockIdx.x;
  const int64_t head = blockIdx.y;
  const int lane = static_cast<int>(threadIdx.x);
  const __nv_bfloat16* q = input.q + (row * shape.heads + head) * (shape.nope + shape.rope);
  float* saved = state + (row * shape.heads + head) * (shape.v + 2);
  float largest = input.is_first ? -INFINITY : saved[shape.v];
  float total = input.is_first ? 0 : saved[shape.v + 1];
  for (int64_t c = lane; c < shape.v; c += 32) sums[c] = input.is_first ? 0 : saved[c];
  for (int64_t i = 0; i < input.kv_count && input.kv_begin + i <= input.position + row; ++i) {
    const __nv_bfloat16* kv = input.kv + (i * shape.heads + head) * (shape.nope + shape.v);
    float sum = 0;
    for (int64_t c = lane; c < shape.nope; c += 32) sum += __bfloat162float(q[c]) * __bfloat162float(kv[c]);
    for (int64_t c = lane; c < shape.rope; c += 32) {
      sum += __bfloat162float(q[shape.nope + c]) * __bfloat162float(input.k_rope[i * shape.rope + c]);
    }
    const float score = warp_sum(sum) * input.scale;
    const float before = largest;
    largest = fmaxf(largest, score);
    const float factor = __expf(before - largest);
    const float weight = __expf(score - largest);
    total = total * factor + weight;
    for (int64_t c = lane; c < shape.v; c += 32) {
      sums[c] = sums[c] * factor + weight * __bfloat162float(kv[shape.nope + c]);
    }
  }
  for (int64_t c = lane; c < shape.v; c += 32) {
    if (input.is_last)
      out[(row * shape.heads + head) * shape.v + c] = __float2bfloat16(sums[c] / total);
    else
      saved[c] = sums[c];
  }
  if (!input.is_last && lane == 0) {
    saved[shape.v] = largest;
    saved[shape.v + 1] = total;
  }
}

}  // namespace

void fp8_gemm(const Fp8Rows& x, int64_t rows, const Fp8Matrix& w, __nv_bfloat16* y, int64_t y_stride,
              cudaStream_t stream) {
  launch(fp8_gemm_kernel, {.grid = blocks(rows * w.rows), .block = kThreads}, stream, x, rows, w, y, y_stride);
}

void experts_gate_up(const Experts& experts, const ExpertPlan& plan, const Fp8Rows& x, const Fp8Rows& inner,
                     cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(plan.tiles_max()), static_cast<unsigned>(experts.inner_tiles()));
  launch(gate_up_kernel, {.grid = grid, .block = kThreads}, stream, experts, plan, x, inner);
}

void experts_down(const Experts& experts, const ExpertPlan& plan, const Fp8Rows& inner, __nv_bfloat16* y,
                  cudaStream_t stream) {
  const dim3 grid(blocks(experts.hidden).x, static_cast<unsigned>(plan.tiles_max()));
  launch(down_kernel, {.grid = grid, .block = kThreads}, stream, experts, plan, inner, y);
}

void absorb_queries(const LatentShape& shape, const __nv_bfloat16* q, int64_t rows, const __nv_bfloat16* kv_b,
                    __nv_bfloat16* out, cudaStream_t stream) {
  const int64_t results = rows * shape.heads * (shape.latent + shape.rope);
  launch(absorb_kernel, {.grid = blocks(results), .block = kThreads}, stream, shape, q, rows, kv_b, out);
}

void expand_outputs(const LatentShape& shape, const __nv_bfloat16* latents, int64_t rows, const __nv_bfloat16* kv_b,
                    __nv_bfloat16* out, cudaStream_t stream) {
  const int64_t results = rows * shape.heads * shape.v;
  launch(expand_kernel, {.grid = blocks(results), .block = kThreads}, stream, shape, latents, rows, kv_b, out);
}

void decode_attention(const LatentShape& shape, const DecodeInput& input, __nv_bfloat16* out, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(input.rows), static_cast<unsigned>(shape.heads));
  const size_t shared = static_cast<size_t>(shape.latent) * sizeof(float);
  launch(decode_kernel, {.grid = grid, .block = 32, .shared_bytes = shared}, stream, shape, input, out);
}

void prefill_attention(const LatentShape& shape, const PrefillInput& input, void* state, __nv_bfloat16* out,
                       cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(input.rows), static_cast<unsigned>(shape.heads));
  const size_t shared = static_cast<size_t>(shape.v) * sizeof(float);
  launch(prefill_kernel, {.grid = grid, .block = 32, .shared_bytes = shared}, stream, shape, input,
         static_cast<float*>(state), out);
}

}  // namespace bellwether::engine::cuda::simple
