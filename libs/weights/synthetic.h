// Weights that are a fixed function of tensor name and shape, so that any model of the architecture (or any slice of
// it) exists without files. The rule is stated in full in tools/demo-model/synthetic.py, which made the references
// under tests/data/synthetic with it.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "weights/tensor_source.h"

namespace bellwether::weights {

// How a tensor's elements come about, for those who make them elsewhere: element i is
//   unit * (base + noise(seed, i) * factor), each operation rounded on its own, then rounded to dtype,
// where noise is splitmix64 at index i, its upper 24 bits in [-1, 1).
struct SyntheticRule {
  DType dtype = DType::kBF16;
  uint64_t seed = 0;
  float base = 0;
  float factor = 1;
  float unit = 1;
};
// Of the tensor `name` of that shape.
[[nodiscard]] SyntheticRule synthetic_rule(std::string_view name, const Shape& shape, bool fp8);
// Element i before it is rounded to dtype.
[[nodiscard]] float synthetic_element(const SyntheticRule& rule, uint64_t i);
// Of the scales of the FP8 weight `name`, which has `cols` columns.
[[nodiscard]] SyntheticRule synthetic_scale_rule(std::string_view name, int64_t cols);

// With `fp8`, what DeepSeek-V3's published checkpoints keep in FP8 (every projection but eh_proj) is F8_E4M3 with a
// "<name>_scale_inv" of 128x128 blocks; everything else is BF16, and e_score_correction_bias F32. Every name exists.
// A scale depends on the width of its weight, so get() gives it only after the weight itself (WeightsError before).
[[nodiscard]] std::unique_ptr<TensorSource> make_synthetic_source(bool fp8);

}  // namespace bellwether::weights
