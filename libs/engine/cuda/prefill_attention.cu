#include "engine/cuda/kernels.h"
#include "engine/cuda/simple_kernels.h"

namespace bellwether::engine::cuda {

void prefill_attention(const LatentShape& shape, const PrefillInput& input, void* state, __nv_bfloat16* out,
                       cudaStream_t stream) {
  simple::prefill_attention(shape, input, state, out, stream);
}

int64_t prefill_state_bytes(const LatentShape& shape, int64_t rows) {
  return rows * shape.heads * (shape.v + 2) * int64_t{sizeof(float)};
}

}  // namespace bellwether::engine::cuda
