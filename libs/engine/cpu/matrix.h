// A weight matrix, or the part of one that a rank has, in the format in which its checkpoint stores it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bellwether::engine::cpu {

inline constexpr int64_t kScaleBlock = 128;  // rows and columns of an FP8 matrix that share one scale

struct Matrix {
  enum class Format { kF32, kBF16, kFP8, kTiledFP8 };
  [[nodiscard]] static int64_t bytes_of(Format format) {
    return format == Format::kF32 ? 4 : format == Format::kBF16 ? 2 : 1;
  }

  Format format = Format::kF32;
  const std::byte* data = nullptr;  // (rows, cols), row-major; kTiledFP8: in an order of its own (amx.h)
  int64_t rows = 0;                 // outputs, of a projection
  int64_t cols = 0;                 // inputs
  int64_t stride = 0;               // elements from one row to the next
  // FP8: one scale for each 128 x 128 block of the whole matrix, from the block of the part's first row and column on;
  // a weight is its code times its scale.
  const float* scales = nullptr;
  int64_t scale_stride = 0;  // scales from one row of blocks to the next
  int64_t scale_row = 0;     // where in their block the part's first row ...
  int64_t scale_col = 0;     // ... and column are; kernels need a multiple of 16 here

  const uint64_t* rare_lines = nullptr;  // kTiledFP8 (amx.h)

  [[nodiscard]] int64_t bytes() const { return rows * cols * bytes_of(format); }
  [[nodiscard]] float scale_of(int64_t row, int64_t col) const {
    return scales[(row + scale_row) / kScaleBlock * scale_stride + (col + scale_col) / kScaleBlock];
  }
  // Rows [row, row + part_rows) of columns [col, col + part_cols). REQUIRES: row-major.
  [[nodiscard]] Matrix part(int64_t row, int64_t part_rows, int64_t col, int64_t part_cols) const {
    Matrix part = *this;
    part.data += (row * stride + col) * bytes_of(format);
    part.rows = part_rows;
    part.cols = part_cols;
    if (scales == nullptr) return part;
    part.scales += (scale_row + row) / kScaleBlock * scale_stride + (scale_col + col) / kScaleBlock;
    part.scale_row = (scale_row + row) % kScaleBlock;
    part.scale_col = (scale_col + col) % kScaleBlock;
    return part;
  }

  // The first row after `row`, and the first column after `col`, that have another scale.
  [[nodiscard]] int64_t next_scale_row(int64_t row) const {
    return (row + scale_row) / kScaleBlock * kScaleBlock + kScaleBlock - scale_row;
  }
  [[nodiscard]] int64_t next_scale(int64_t col) const {
    return (col + scale_col) / kScaleBlock * kScaleBlock + kScaleBlock - scale_col;
  }
};

[[nodiscard]] inline Matrix float_matrix(const float* data, int64_t rows, int64_t cols, int64_t stride) {
  return {.format = Matrix::Format::kF32,
          .data = reinterpret_cast<const std::byte*>(data),
          .rows = rows,
          .cols = cols,
          .stride = stride};
}

}  // namespace bellwether::engine::cpu
