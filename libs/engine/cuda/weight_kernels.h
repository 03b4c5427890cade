// Weights on their way into GPU memory: from rows of a checkpoint's tensor, or made up there by the rule of
// weights/synthetic.h, to what the products read (layouts.h).
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "engine/cuda/layouts.h"

namespace bellwether::engine::cuda {

enum class Format { kF32, kBF16, kFP8 };
[[nodiscard]] constexpr int64_t bytes_of(Format format) {
  return format == Format::kF32 ? 4 : format == Format::kBF16 ? 2 : 1;
}

// Part of a matrix that has `stride` columns.
struct MatrixPart {
  int64_t row = 0;
  int64_t rows = 0;
  int64_t col = 0;
  int64_t cols = 0;
  int64_t stride = 0;
};

// weights::SyntheticRule, with a format of this side.
struct MadeUp {
  Format format = Format::kBF16;
  uint64_t seed = 0;
  float base = 0;
  float factor = 1;
  float unit = 1;
};

// out (part.rows, part.cols) = the part's elements, in the rule's format.
void make_up(const MadeUp& rule, const MatrixPart& part, void* out, cudaStream_t stream);

// out (part.rows, part.cols) = the part's elements, which stand side by side at `elements`, in bf16. scales: with kFP8,
// of the whole matrix, (ceil(rows / 128), scale_stride).
void unpack(Format format, const void* elements, const MatrixPart& part, const float* scales, int64_t scale_stride,
            __nv_bfloat16* out, cudaStream_t stream);

// Random finite bf16 values, so that what was never written shows when it is read.
void scribble(void* memory, int64_t bytes, cudaStream_t stream);

}  // namespace bellwether::engine::cuda
