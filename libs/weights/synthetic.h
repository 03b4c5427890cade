// Weights that are a fixed function of tensor name and shape, so that any model of the architecture (or any slice of
// it) exists without files. The rule is stated in full in tools/demo-model/synthetic.py, which made the references
// under tests/data/synthetic with it.
#pragma once

#include <memory>

#include "weights/tensor_source.h"

namespace bellwether::weights {

// With `fp8`, what DeepSeek-V3's published checkpoints keep in FP8 (every projection but eh_proj) is F8_E4M3 with a
// "<name>_scale_inv" of 128x128 blocks; everything else is BF16, and e_score_correction_bias F32. Every name exists.
// A scale depends on the width of its weight, so get() gives it only after the weight itself (WeightsError before).
[[nodiscard]] std::unique_ptr<TensorSource> make_synthetic_source(bool fp8);

}  // namespace bellwether::weights
