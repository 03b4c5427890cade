// A weight matrix in the format in which its checkpoint stores it, usually inside the mapped file: not aligned.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bellwether::engine::cpu {

inline constexpr int64_t kScaleBlock = 128;  // rows and columns of an FP8 matrix that share one scale

struct Matrix {
  enum class Format { kF32, kBF16, kFP8 };

  Format format = Format::kF32;
  const std::byte* data = nullptr;  // (rows, cols), row-major
  int64_t rows = 0;                 // outputs, of a projection
  int64_t cols = 0;                 // inputs
  int64_t stride = 0;               // elements from one row to the next
  const float* scales = nullptr;    // kFP8: (ceil(rows / 128), ceil(cols / 128)); a weight is its code times its scale
};

[[nodiscard]] inline Matrix float_matrix(const float* data, int64_t rows, int64_t cols, int64_t stride) {
  return {.format = Matrix::Format::kF32,
          .data = reinterpret_cast<const std::byte*>(data),
          .rows = rows,
          .cols = cols,
          .stride = stride,
          .scales = nullptr};
}

}  // namespace bellwether::engine::cpu
