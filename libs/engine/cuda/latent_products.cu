// kernels.h: queries into the latent space, and what attention sums there out of it: small products with bf16 weights,
// one for each head.
#include "engine/cuda/kernels.h"
#include "engine/cuda/launch.h"
#include "engine/cuda/step_kernels.h"

namespace bellwether::engine::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void transpose_kernel(LatentShape shape, const __nv_bfloat16* kv_b, __nv_bfloat16* keys) {
  cudaGridDependencySynchronize();
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= shape.heads * shape.latent * shape.nope) return;
  const int64_t head = i / (shape.latent * shape.nope);
  const int64_t column = i / shape.nope % shape.latent;
  keys[i] = kv_b[(head * (shape.nope + shape.v) + i % shape.nope) * shape.latent + column];
}

// The turned part of each head's query, behind its part in the latent space.
__global__ void copy_turned_kernel(LatentShape shape, const __nv_bfloat16* q, int64_t count, __nv_bfloat16* out) {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  const int64_t head = i / shape.rope;  // of all rows
  out[head * (shape.latent + shape.rope) + shape.latent + i % shape.rope] =
      q[head * (shape.nope + shape.rope) + shape.nope + i % shape.rope];
}

dim3 blocks(int64_t count) {
  return dim3(static_cast<unsigned>(ceil_div(count, kThreads)));
}

}  // namespace

void transpose_keys(const LatentShape& shape, const __nv_bfloat16* kv_b, __nv_bfloat16* keys, cudaStream_t stream) {
  launch(transpose_kernel, {.grid = blocks(shape.heads * shape.latent * shape.nope), .block = kThreads}, stream, shape,
         kv_b, keys);
}

void absorb_queries(const LatentShape& shape, const __nv_bfloat16* q, int64_t rows, const __nv_bfloat16* keys,
                    __nv_bfloat16* out, cudaStream_t stream) {
  if (rows == 0) return;
  const int64_t count = rows * shape.heads * shape.rope;
  launch(copy_turned_kernel, {.grid = blocks(count), .block = kThreads}, stream, shape, q, count, out);
  Bf16Product product{.x = q,
                      .x_stride = shape.heads * (shape.nope + shape.rope),
                      .rows = rows,
                      .w = keys,
                      .n = shape.latent,
                      .k = shape.nope,
                      .y_bf16 = out,
                      .y_stride = shape.heads * (shape.latent + shape.rope),
                      .products = shape.heads};
  product.x_step = shape.nope + shape.rope;
  product.w_step = shape.latent * shape.nope;
  product.y_step = shape.latent + shape.rope;
  bf16_gemm(product, stream);
}

void expand_outputs(const LatentShape& shape, const __nv_bfloat16* latents, int64_t rows, const __nv_bfloat16* kv_b,
                    __nv_bfloat16* out, cudaStream_t stream) {
  Bf16Product product{.x = latents,
                      .x_stride = shape.heads * shape.latent,
                      .rows = rows,
                      .w = kv_b + shape.nope * shape.latent,
                      .n = shape.v,
                      .k = shape.latent,
                      .y_bf16 = out,
                      .y_stride = shape.heads * shape.v,
                      .products = shape.heads};
  product.x_step = shape.latent;
  product.w_step = (shape.nope + shape.v) * shape.latent;
  product.y_step = shape.v;
  bf16_gemm(product, stream);
}

}  // namespace bellwether::engine::cuda
