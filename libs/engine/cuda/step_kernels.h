// The small kernels of a step, which join the large ones (kernels.h). Conventions are those of kernels.h: device
// pointers, launches only, sums in an order fixed by the sizes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "engine/cuda/layouts.h"

namespace bellwether::engine::cuda {

// What a step is to compute, row by row; rows without a sequence, which fill up a graph's batch, have slot -1.
struct StepRows {
  const int32_t* ids = nullptr;        // (rows)
  const int32_t* positions = nullptr;  // (rows)
  const int32_t* slots = nullptr;      // (rows) of the KV cache: page * kPageTokens + token, -1 = none
  int64_t rows = 0;
};

// x (rows, hidden) float32 = rows of embedding (vocab, hidden).
void embed_rows(const StepRows& step, const __nv_bfloat16* embedding, int64_t hidden, float* x, cudaStream_t stream);

// cosine, sine (rows, pairs): of each position times each frequency (pairs), both times `magnitude`.
void make_angles(const StepRows& step, const float* frequencies, float magnitude, int64_t pairs, float* cosine,
                 float* sine, cudaStream_t stream);

// Where a norm's output goes: in FP8, in bf16, or both.
struct NormOutput {
  Fp8Rows codes;                    // codes.codes == nullptr: not wanted
  __nv_bfloat16* values = nullptr;  // (rows, width), values_stride apart; nullptr: not wanted
  int64_t values_stride = 0;
};

// x += delta, if there is one; then out = x / sqrt(mean(x^2) + epsilon) * weight. x, delta: (rows, hidden).
void add_and_norm(float* x, const __nv_bfloat16* delta, const float* weight, int64_t rows, int64_t hidden,
                  float epsilon, const NormOutput& out, cudaStream_t stream);

// The first product's output (rows, q_rank + latent + rope): its first part is normalised to `q`, its second
// normalised, its third turned, and both put into the cache's pages of this layer.
struct LatentInput {
  const __nv_bfloat16* qkv = nullptr;  // rows `stride` values apart
  int64_t stride = 0;
  int64_t q_rank = 0;  // 0: no first part
  int64_t latent = 0;
  int64_t rope = 0;
  const float* q_norm = nullptr;   // (q_rank)
  const float* kv_norm = nullptr;  // (latent)
  const float* cosine = nullptr;   // (rows, rope / 2)
  const float* sine = nullptr;
  float epsilon = 0;
};
void norm_and_store(const LatentInput& input, const StepRows& step, const NormOutput& q, const KvPages& pages,
                    cudaStream_t stream);

// Turns the last `rope` values of each head of q (rows, heads, nope + rope), in place.
void turn_queries(const StepRows& step, const float* cosine, const float* sine, int64_t heads, int64_t nope,
                  int64_t rope, __nv_bfloat16* q, cudaStream_t stream);

// y (splits, rows, n) = x (rows, k) * w (n, k) transposed, of bf16 with sums in float32; the sum over the splits is the
// product. y is float32, or bf16 (splits 1 only). Rows of x are x_stride values apart, those of y y_stride.
struct Bf16Product {
  const __nv_bfloat16* x = nullptr;
  int64_t x_stride = 0;
  int64_t rows = 0;
  const __nv_bfloat16* w = nullptr;
  int64_t n = 0;
  int64_t k = 0;
  float* y_float = nullptr;
  __nv_bfloat16* y_bf16 = nullptr;
  int64_t y_stride = 0;
  int64_t splits = 1;
  // Several products of one shape, of which the next reads and writes so many values further on. One of them: splits.
  int64_t products = 1;
  int64_t x_step = 0;
  int64_t w_step = 0;
  int64_t y_step = 0;
};
void bf16_gemm(const Bf16Product& product, cudaStream_t stream);

// Which experts each row goes to, as cpu/router.h's choose_experts(), in order of expert.
struct RouterShape {
  int64_t experts = 0;  // routed ones, 1024 at most
  int64_t chosen = 0;   // of each row, 32 at most
  int64_t groups = 1;   // 64 at most
  int64_t groups_chosen = 1;
  bool norms_weights = true;
  float scaling = 1;
};
// logits: (splits, rows, experts), which add up. bias: (experts). choices: (rows, chosen).
void choose_experts(const RouterShape& shape, const float* logits, int64_t splits, const float* bias, int64_t rows,
                    ExpertChoice* choices, cudaStream_t stream);

// The largest of a row's logits (width), and first_id + its index, the lowest among equals.
struct LikelyToken {
  float logit;
  int32_t id;
};
void most_likely(const float* logits, int64_t rows, int64_t width, int64_t stride, int64_t first_id, LikelyToken* out,
                 cudaStream_t stream);

// out (count, width) = rows `index` (count) of x (_, width); index < 0: zeros.
void gather_rows(const __nv_bfloat16* x, const int32_t* index, int64_t count, int64_t width, __nv_bfloat16* out,
                 cudaStream_t stream);

// out (rows, 2 * hidden) = norm(embedding of the row's id) and norm(hidden state) side by side.
void norm_draft_input(const StepRows& step, const __nv_bfloat16* embedding, const float* embedding_norm,
                      const __nv_bfloat16* hidden_states, const float* hidden_norm, int64_t hidden, float epsilon,
                      __nv_bfloat16* out, cudaStream_t stream);

// x (count) float32 = x (count) bf16.
void widen(const __nv_bfloat16* x, int64_t count, float* out, cudaStream_t stream);

}  // namespace bellwether::engine::cuda
