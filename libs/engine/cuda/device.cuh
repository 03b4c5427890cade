// What several kernels need on the device.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp8.h>

#include <cstdint>

namespace bellwether::engine::cuda {

__device__ inline float float_of_code(uint8_t code) {
  __nv_fp8_e4m3 value;
  value.__x = code;
  return static_cast<float>(value);
}

__device__ inline uint8_t code_of(float x) {
  return __nv_fp8_e4m3(x).__x;  // nearest, saturating
}

// The scale of 128 values whose largest magnitude is `largest`.
__device__ inline float scale_for(float largest) {
  return fmaxf(largest, 1e-4F) / 448;
}

__device__ inline float warp_max(float x) {
  for (int lanes = 16; lanes > 0; lanes /= 2) x = fmaxf(x, __shfl_xor_sync(~0U, x, lanes));
  return x;
}

__device__ inline float warp_sum(float x) {
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(~0U, x, lanes);
  return x;
}

__device__ inline float silu(float x) {
  return x / (1 + __expf(-x));
}

}  // namespace bellwether::engine::cuda
