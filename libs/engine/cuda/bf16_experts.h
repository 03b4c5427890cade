// Experts whose weights are bf16, or do not lie on blocks of FP8 scales: plain kernels for small models, of the same
// contract as those of kernels.h.
#pragma once

#include <cuda_bf16.h>

#include "engine/cuda/layouts.h"

namespace bellwether::engine::cuda {

struct Bf16Experts {
  const __nv_bfloat16* gate_up = nullptr;  // (experts, 2, inner, hidden): gate, then up
  const __nv_bfloat16* down = nullptr;     // (experts, hidden, inner)
  int64_t experts = 0;
  int64_t hidden = 0;
  int64_t inner = 0;
};

// inner (slots_max, experts.inner) = silu(gate(x)) * up(x) of every slot. x: the batch's rows (rows, hidden).
void experts_gate_up(const Bf16Experts& experts, const ExpertPlan& plan, const __nv_bfloat16* x, __nv_bfloat16* inner,
                     cudaStream_t stream);

// y (slots_max, experts.hidden) = the slot's weight * down(inner).
void experts_down(const Bf16Experts& experts, const ExpertPlan& plan, const __nv_bfloat16* inner, __nv_bfloat16* y,
                  cudaStream_t stream);

}  // namespace bellwether::engine::cuda
