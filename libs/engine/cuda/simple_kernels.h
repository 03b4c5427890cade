// The functions of kernels.h in their plainest form, any sizes, one thread for each result or row: what the fast
// kernels are compared with on the GPU, and what computes shapes that they do not take.
#pragma once

#include "engine/cuda/kernels.h"

namespace bellwether::engine::cuda::simple {

void fp8_gemm(const Fp8Rows& x, int64_t rows, const Fp8Matrix& w, __nv_bfloat16* y, int64_t y_stride,
              cudaStream_t stream);
void experts_gate_up(const Experts& experts, const ExpertPlan& plan, const Fp8Rows& x, const Fp8Rows& inner,
                     cudaStream_t stream);
void experts_down(const Experts& experts, const ExpertPlan& plan, const Fp8Rows& inner, __nv_bfloat16* y,
                  cudaStream_t stream);
void absorb_queries(const LatentShape& shape, const __nv_bfloat16* q, int64_t rows, const __nv_bfloat16* kv_b,
                    __nv_bfloat16* out, cudaStream_t stream);
void expand_outputs(const LatentShape& shape, const __nv_bfloat16* latents, int64_t rows, const __nv_bfloat16* kv_b,
                    __nv_bfloat16* out, cudaStream_t stream);
void decode_attention(const LatentShape& shape, const DecodeInput& input, __nv_bfloat16* out, cudaStream_t stream);
void prefill_attention(const LatentShape& shape, const PrefillInput& input, void* state, __nv_bfloat16* out,
                       cudaStream_t stream);

}  // namespace bellwether::engine::cuda::simple
