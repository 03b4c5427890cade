#include "engine/cuda/kernels.h"
#include "engine/cuda/launch.h"
#include "engine/cuda/simple_kernels.h"

namespace bellwether::engine::cuda {

void absorb_queries(const LatentShape& shape, const __nv_bfloat16* q, int64_t rows, const __nv_bfloat16* kv_b,
                    __nv_bfloat16* out, cudaStream_t stream) {
  simple::absorb_queries(shape, q, rows, kv_b, out, stream);
}

void expand_outputs(const LatentShape& shape, const __nv_bfloat16* latents, int64_t rows, const __nv_bfloat16* kv_b,
                    __nv_bfloat16* out, cudaStream_t stream) {
  simple::expand_outputs(shape, latents, rows, kv_b, out, stream);
}

void plan_decode(const int32_t*, const DecodePlan&, cudaStream_t) {}

int64_t decode_workspace_bytes(const LatentShape& shape, const DecodePlan& plan) {
  return plan.pieces_max() * shape.heads * (shape.latent + 2) * int64_t{sizeof(float)};
}

void decode_attention(const LatentShape& shape, const DecodeInput& input, const DecodePlan&, void*, __nv_bfloat16* out,
                      cudaStream_t stream) {
  simple::decode_attention(shape, input, out, stream);
}

}  // namespace bellwether::engine::cuda
