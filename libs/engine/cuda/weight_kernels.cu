#include "engine/cuda/device.cuh"
#include "engine/cuda/launch.h"
#include "engine/cuda/weight_kernels.h"

namespace bellwether::engine::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kBlocksMax = 132 * 16;

__device__ uint64_t mix(uint64_t seed, uint64_t i) {  // splitmix64 at index i
  uint64_t x = seed + (i + 1) * 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

// Calls with each index below `count` in some thread.
template <class Each>
__device__ void for_each(int64_t count, const Each& each) {
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += int64_t{gridDim.x} * kThreads) each(i);
}

dim3 blocks(int64_t count) {
  const int64_t wanted = ceil_div(count, kThreads);
  return dim3(static_cast<unsigned>(wanted < kBlocksMax ? wanted : kBlocksMax));
}

__global__ void make_up_kernel(MadeUp rule, MatrixPart part, void* out) {
  cudaGridDependencySynchronize();
  for_each(part.rows * part.cols, [&](int64_t i) {
    const int64_t row = part.row + i / part.cols;
    const int64_t col = part.col + i % part.cols;
    const uint64_t bits = mix(rule.seed, static_cast<uint64_t>(row * part.stride + col)) >> 40;
    const float noise = __fsub_rn(__fmul_rn(2, __fmul_rn(static_cast<float>(bits), 0x1p-24F)), 1);
    const float value = __fmul_rn(rule.unit, __fadd_rn(rule.base, __fmul_rn(noise, rule.factor)));
    switch (rule.format) {
      case Format::kF32:
        static_cast<float*>(out)[i] = value;
        break;
      case Format::kBF16:
        static_cast<__nv_bfloat16*>(out)[i] = __float2bfloat16(value);
        break;
      case Format::kFP8:
        static_cast<uint8_t*>(out)[i] = code_of(value);
        break;
    }
  });
}

__global__ void unpack_kernel(Format format, const void* elements, MatrixPart part, const float* scales,
                              int64_t scale_stride, __nv_bfloat16* out) {
  cudaGridDependencySynchronize();
  for_each(part.rows * part.cols, [&](int64_t i) {
    if (format == Format::kBF16) {
      out[i] = static_cast<const __nv_bfloat16*>(elements)[i];
    } else if (format == Format::kF32) {
      out[i] = __float2bfloat16(static_cast<const float*>(elements)[i]);
    } else {
      const int64_t row = (part.row + i / part.cols) / kTile;
      const int64_t col = (part.col + i % part.cols) / kTile;
      const float code = float_of_code(static_cast<const uint8_t*>(elements)[i]);
      out[i] = __float2bfloat16(code * scales[row * scale_stride + col]);
    }
  });
}

__global__ void scribble_kernel(__nv_bfloat162* memory, int64_t count) {
  cudaGridDependencySynchronize();
  for_each(count, [&](int64_t i) {
    const uint64_t bits = mix(1, static_cast<uint64_t>(i));
    const auto value = [](uint64_t x) { return static_cast<float>(x & 0xFFFF) / 32768.0F - 1; };
    memory[i] = __floats2bfloat162_rn(value(bits), value(bits >> 16));
  });
}

}  // namespace

void make_up(const MadeUp& rule, const MatrixPart& part, void* out, cudaStream_t stream) {
  if (part.rows * part.cols == 0) return;
  launch(make_up_kernel, {.grid = blocks(part.rows * part.cols), .block = kThreads}, stream, rule, part, out);
}

void unpack(Format format, const void* elements, const MatrixPart& part, const float* scales, int64_t scale_stride,
            __nv_bfloat16* out, cudaStream_t stream) {
  if (part.rows * part.cols == 0) return;
  launch(unpack_kernel, {.grid = blocks(part.rows * part.cols), .block = kThreads}, stream, format, elements, part,
         scales, scale_stride, out);
}

void scribble(void* memory, int64_t bytes, cudaStream_t stream) {
  const int64_t count = bytes / int64_t{sizeof(__nv_bfloat162)};
  if (count == 0) return;
  launch(scribble_kernel, {.grid = blocks(count), .block = kThreads}, stream, static_cast<__nv_bfloat162*>(memory),
         count);
}

}  // namespace bellwether::engine::cuda
