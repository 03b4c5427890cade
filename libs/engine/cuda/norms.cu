// step_kernels.h: RMS norms with what stands before and after them, rotary turns, the cache's writes.
#include <type_traits>

#include "engine/cuda/device.cuh"
#include "engine/cuda/launch.h"
#include "engine/cuda/step_kernels.h"

namespace bellwether::engine::cuda {
namespace {

constexpr int kGroup = 128;  // columns of one FP8 scale: four of each thread of a warp
constexpr int kWarpsMax = 32;

struct Values4 {
  float v[4];
};

__device__ Values4 load4(const float* x) {
  const float4 packed = *reinterpret_cast<const float4*>(x);
  return {packed.x, packed.y, packed.z, packed.w};
}

__device__ Values4 load4(const __nv_bfloat16* x) {
  const uint2 packed = *reinterpret_cast<const uint2*>(x);
  const auto* values = reinterpret_cast<const __nv_bfloat16*>(&packed);
  return {__bfloat162float(values[0]), __bfloat162float(values[1]), __bfloat162float(values[2]),
          __bfloat162float(values[3])};
}

__device__ uint2 bf16_of(const Values4& x) {
  uint2 packed;
  auto* values = reinterpret_cast<__nv_bfloat16*>(&packed);
  for (int i = 0; i < 4; ++i) values[i] = __float2bfloat16(x.v[i]);
  return packed;
}

// The sum of every thread's x, for all threads, in an order fixed by the block's size.
__device__ float block_sum(float x, float* of_warps) {
  const float sum = warp_sum(x);
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = sum;
  __syncthreads();
  float total = 0;
  for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) total += of_warps[warp];
  return total;
}

__device__ void store_normed(const NormOutput& out, int64_t row, int64_t column, bool is_inside, const Values4& y) {
  if (out.values != nullptr && is_inside) {
    *reinterpret_cast<uint2*>(out.values + row * out.values_stride + column) = bf16_of(y);
  }
  if (out.codes.codes == nullptr) return;
  float largest = 0;
  for (int i = 0; i < 4; ++i) largest = fmaxf(largest, fabsf(y.v[i]));
  const float scale = scale_for(warp_max(largest));
  uint32_t packed = 0;
  for (int i = 0; i < 4; ++i) packed |= uint32_t{code_of(y.v[i] / scale)} << (8 * i);
  *reinterpret_cast<uint32_t*>(out.codes.codes + out.codes.offset(row, column)) = packed;
  if (threadIdx.x % 32 == 0) out.codes.scales[out.codes.scale_offset(row, column)] = scale;
}

// Warp w has the groups w, w + warps, ...; kGroups of them at most. `load`(column): four values. Columns beyond width
// are 0.
template <int kGroups, class Load, class Store>
__device__ void norm_row(int64_t width, const float* weight, float epsilon, const Load& load, const Store& store) {
  __shared__ float of_warps[kWarpsMax];
  const int64_t warps = blockDim.x / 32;
  const int64_t lane_column = threadIdx.x / 32 * kGroup + threadIdx.x % 32 * 4;
  Values4 x[kGroups];
  float squares = 0;
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const int64_t column = lane_column + g * warps * kGroup;
    x[g] = column < width ? load(column) : Values4{};
    for (int i = 0; i < 4; ++i) squares += x[g].v[i] * x[g].v[i];
  }
  const float mean = block_sum(squares, of_warps) / static_cast<float>(width);
  const float factor = rsqrtf(mean + epsilon);
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const int64_t column = lane_column + g * warps * kGroup;
    const int64_t group = column / kGroup * kGroup;
    if (group >= width) break;
    Values4 y{};
    if (column < width) {
      const Values4 w = load4(weight + column);
      for (int i = 0; i < 4; ++i) y.v[i] = x[g].v[i] * factor * w.v[i];
    }
    store(column, column < width, y);
  }
}

template <int kGroups>
__global__ void __launch_bounds__(32 * kWarpsMax)
    add_and_norm_kernel(float* x, const __nv_bfloat16* delta, const float* weight, int64_t hidden, float epsilon,
                        NormOutput out) {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  const int64_t row = blockIdx.x;
  float* x_row = x + row * hidden;
  const auto load = [&](int64_t column) {
    Values4 value = load4(x_row + column);
    if (delta == nullptr) return value;
    const Values4 more = load4(delta + row * hidden + column);
    for (int i = 0; i < 4; ++i) value.v[i] += more.v[i];
    *reinterpret_cast<float4*>(x_row + column) = {value.v[0], value.v[1], value.v[2], value.v[3]};
    return value;
  };
  norm_row<kGroups>(hidden, weight, epsilon, load, [&](int64_t column, bool is_inside, const Values4& y) {
    store_normed(out, row, column, is_inside, y);
  });
}

// Two blocks for each row: the first has the queries' part, the second what goes into the cache.
template <int kGroups>
__global__ void __launch_bounds__(32 * kWarpsMax)
    norm_and_store_kernel(LatentInput input, StepRows step, NormOutput q, KvPages pages) {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  const int64_t row = blockIdx.x;
  const __nv_bfloat16* from = input.qkv + row * input.stride;
  if (blockIdx.y == 1) {
    if (input.q_rank == 0) return;
    norm_row<kGroups>(
        input.q_rank, input.q_norm, input.epsilon, [&](int64_t column) { return load4(from + column); },
        [&](int64_t column, bool is_inside, const Values4& y) { store_normed(q, row, column, is_inside, y); });
    return;
  }
  const int32_t slot = step.slots[row];
  if (slot < 0) return;
  const int64_t page = slot / kPageTokens;
  const int64_t token = slot % kPageTokens;
  const __nv_bfloat16* latent = from + input.q_rank;
  norm_row<kGroups>(
      input.latent, input.kv_norm, input.epsilon, [&](int64_t column) { return load4(latent + column); },
      [&](int64_t column, bool is_inside, const Values4& y) {
        if (!is_inside) return;
        *reinterpret_cast<uint2*>(pages.data + pages.offset(page, token, column)) = bf16_of(y);
      });
  for (int64_t pair = threadIdx.x; pair < input.rope / 2; pair += blockDim.x) {
    const float a = __bfloat162float(latent[input.latent + 2 * pair]);
    const float b = __bfloat162float(latent[input.latent + 2 * pair + 1]);
    const float cosine = input.cosine[row * (input.rope / 2) + pair];
    const float sine = input.sine[row * (input.rope / 2) + pair];
    auto* to = reinterpret_cast<__nv_bfloat162*>(pages.data + pages.offset(page, token, input.latent + 2 * pair));
    *to = __floats2bfloat162_rn(a * cosine - b * sine, a * sine + b * cosine);
  }
}

// One thread for each pair of a head.
__global__ void turn_kernel(const float* cosine, const float* sine, int64_t heads, int64_t nope, int64_t rope,
                            __nv_bfloat16* q) {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  const int64_t row = blockIdx.x;
  const int64_t pairs = rope / 2;
  for (int64_t i = threadIdx.x; i < heads * pairs; i += blockDim.x) {
    const int64_t pair = i % pairs;
    auto* values = reinterpret_cast<__nv_bfloat162*>(q + (row * heads + i / pairs) * (nope + rope) + nope + 2 * pair);
    const float2 x = __bfloat1622float2(*values);
    const float c = cosine[row * pairs + pair];
    const float s = sine[row * pairs + pair];
    *values = __floats2bfloat162_rn(x.x * c - x.y * s, x.x * s + x.y * c);
  }
}

__global__ void angles_kernel(StepRows step, const float* frequencies, float magnitude, int64_t pairs, float* cosine,
                              float* sine) {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  const int64_t row = blockIdx.x;
  for (int64_t pair = threadIdx.x; pair < pairs; pair += blockDim.x) {
    const float angle = static_cast<float>(step.positions[row]) * frequencies[pair];
    cosine[row * pairs + pair] = cosf(angle) * magnitude;
    sine[row * pairs + pair] = sinf(angle) * magnitude;
  }
}

__global__ void embed_kernel(StepRows step, const __nv_bfloat16* embedding, int64_t hidden, float* x) {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  const int64_t row = blockIdx.x;
  const __nv_bfloat16* from = embedding + int64_t{step.ids[row]} * hidden;
  for (int64_t c = threadIdx.x; c < hidden; c += blockDim.x) x[row * hidden + c] = __bfloat162float(from[c]);
}

// Two blocks for each row: the embedding's norm, the hidden state's.
template <int kGroups>
__global__ void __launch_bounds__(32 * kWarpsMax)
    draft_input_kernel(StepRows step, const __nv_bfloat16* embedding, const float* embedding_norm,
                       const __nv_bfloat16* hidden_states, const float* hidden_norm, int64_t hidden, float epsilon,
                       __nv_bfloat16* out) {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  const int64_t row = blockIdx.x;
  const bool is_hidden = blockIdx.y == 1;
  const __nv_bfloat16* from = is_hidden ? hidden_states + row * hidden : embedding + int64_t{step.ids[row]} * hidden;
  __nv_bfloat16* to = out + (2 * row + static_cast<int64_t>(is_hidden)) * hidden;
  norm_row<kGroups>(
      hidden, is_hidden ? hidden_norm : embedding_norm, epsilon, [&](int64_t column) { return load4(from + column); },
      [&](int64_t column, bool is_inside, const Values4& y) {
        if (is_inside) *reinterpret_cast<uint2*>(to + column) = bf16_of(y);
      });
}

__global__ void gather_rows_kernel(const __nv_bfloat16* x, const int32_t* index, int64_t width, __nv_bfloat16* out) {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  const int64_t row = blockIdx.x;
  const int64_t from = index[row];
  for (int64_t c = threadIdx.x; c < width; c += blockDim.x) {
    out[row * width + c] = from < 0 ? __nv_bfloat16(0) : x[from * width + c];
  }
}

__global__ void widen_kernel(const __nv_bfloat16* x, int64_t count, float* out) {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < count) out[i] = __bfloat162float(x[i]);
}

// The block that norms a row of `width`, and how many groups its warps have at most: a power of two up to 4.
struct NormBlock {
  unsigned threads;
  int64_t groups;
};

NormBlock norm_block(int64_t width) {
  const int64_t groups = ceil_div(width, kGroup);
  int64_t each = 1;
  while (each * kWarpsMax < groups) each *= 2;
  if (each > 4 || width % 4 != 0) throw CudaError("a norm's width must be a multiple of 4 up to 16384");
  return {static_cast<unsigned>(32 * ceil_div(groups, each)), each};
}

// Calls run(std::integral_constant) with the number of groups.
template <class Run>
void with_groups(int64_t groups, const Run& run) {
  switch (groups) {
    case 1:
      return run(std::integral_constant<int, 1>());
    case 2:
      return run(std::integral_constant<int, 2>());
    default:
      return run(std::integral_constant<int, 4>());
  }
}

dim3 grid_of(int64_t x, unsigned y = 1) {
  return dim3(static_cast<unsigned>(x), y);
}

}  // namespace

void embed_rows(const StepRows& step, const __nv_bfloat16* embedding, int64_t hidden, float* x, cudaStream_t stream) {
  launch(embed_kernel, {.grid = grid_of(step.rows), .block = 512}, stream, step, embedding, hidden, x);
}

void make_angles(const StepRows& step, const float* frequencies, float magnitude, int64_t pairs, float* cosine,
                 float* sine, cudaStream_t stream) {
  launch(angles_kernel, {.grid = grid_of(step.rows), .block = 32}, stream, step, frequencies, magnitude, pairs, cosine,
         sine);
}

void add_and_norm(float* x, const __nv_bfloat16* delta, const float* weight, int64_t rows, int64_t hidden,
                  float epsilon, const NormOutput& out, cudaStream_t stream) {
  const NormBlock block = norm_block(hidden);
  with_groups(block.groups, [&](auto groups) {
    launch(add_and_norm_kernel<groups.value>, LaunchShape{grid_of(rows), block.threads}, stream, x, delta, weight,
           hidden, epsilon, out);
  });
}

void norm_and_store(const LatentInput& input, const StepRows& step, const NormOutput& q, const KvPages& pages,
                    cudaStream_t stream) {
  const NormBlock block = norm_block(input.q_rank > input.latent ? input.q_rank : input.latent);
  with_groups(block.groups, [&](auto groups) {
    launch(norm_and_store_kernel<groups.value>, LaunchShape{grid_of(step.rows, 2), block.threads}, stream, input, step,
           q, pages);
  });
}

void turn_queries(const StepRows& step, const float* cosine, const float* sine, int64_t heads, int64_t nope,
                  int64_t rope, __nv_bfloat16* q, cudaStream_t stream) {
  launch(turn_kernel, {.grid = grid_of(step.rows), .block = 256}, stream, cosine, sine, heads, nope, rope, q);
}

void norm_draft_input(const StepRows& step, const __nv_bfloat16* embedding, const float* embedding_norm,
                      const __nv_bfloat16* hidden_states, const float* hidden_norm, int64_t hidden, float epsilon,
                      __nv_bfloat16* out, cudaStream_t stream) {
  const NormBlock block = norm_block(hidden);
  with_groups(block.groups, [&](auto groups) {
    launch(draft_input_kernel<groups.value>, LaunchShape{grid_of(step.rows, 2), block.threads}, stream, step, embedding,
           embedding_norm, hidden_states, hidden_norm, hidden, epsilon, out);
  });
}

void gather_rows(const __nv_bfloat16* x, const int32_t* index, int64_t count, int64_t width, __nv_bfloat16* out,
                 cudaStream_t stream) {
  if (count == 0) return;
  launch(gather_rows_kernel, {.grid = grid_of(count), .block = 256}, stream, x, index, width, out);
}

void widen(const __nv_bfloat16* x, int64_t count, float* out, cudaStream_t stream) {
  launch(widen_kernel, {.grid = grid_of(ceil_div(count, 256)), .block = 256}, stream, x, count, out);
}

}  // namespace bellwether::engine::cuda
