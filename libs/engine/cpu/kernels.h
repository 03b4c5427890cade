// The arithmetic of the CPU backend, on one thread, in float32, with the best instructions of the CPU at hand.
//
// Sums are taken in an order fixed by the sizes alone. A sum over columns has 16 partial sums, column k in number
// k mod 16, each taken from the lowest column upwards and added to by fused multiply-add; then number j is added to
// j + 8, those to j + 4, + 2, + 1. A sum over rows goes from the lowest row upwards. So a row of a product is the same
// bit for bit whichever rows, and whichever part of the matrix, are computed with it, and on every CPU with fused
// multiply-add.
#pragma once

#include <cstdint>

#include "engine/cpu/matrix.h"
#include "engine/kv_blocks.h"

namespace bellwether::engine::cpu {

// y[r][o - row_begin] = sum over k of x[r][k] * w[o][k], for r < rows and row_begin <= o < row_end.
// x: (rows, w.cols) and y: (rows, row_end - row_begin), rows x_stride and y_stride floats apart. Without columns y = 0.
void dot_rows(const float* x, int64_t x_stride, int64_t rows, const Matrix& w, int64_t row_begin, int64_t row_end,
              float* y, int64_t y_stride);

// y[r][k - col_begin] += sum over o of x[r][o - row_begin] * w[o][k], for r < rows and col_begin <= k < col_end.
// REQUIRES: col_begin is a multiple of kScaleBlock.
void add_weighted_rows(const float* x, int64_t x_stride, int64_t rows, const Matrix& w, int64_t row_begin,
                       int64_t row_end, int64_t col_begin, int64_t col_end, float* y, int64_t y_stride);

// out: (w.cols), row `row` of w in float32.
void copy_row(const Matrix& w, int64_t row, float* out);

// y = x / sqrt(mean(x^2) + epsilon) * weight; all (size). y may be x.
void rms_norm(const float* x, const float* weight, int64_t size, float epsilon, float* y);

// y[i] = silu(gate[i]) * up[i], silu(z) = z / (1 + e^-z). y may be gate or up.
void silu_multiply(const float* gate, const float* up, int64_t size, float* y);

void add(const float* x, int64_t size, float* y);                       // y += x
void add_scaled(const float* x, float factor, int64_t size, float* y);  // y += factor * x, fused
void scale(float factor, int64_t size, float* y);                       // y *= factor

// The softmax of one row, taken block by block of kBlockTokens scores, as if by one pass (Milakov and Gimelshein,
// arxiv.org/abs/1805.02867).
struct RunningSoftmax {
  float max = -__builtin_huge_valf();
  float sum = 0;

  // Replaces the first `valid` scores s by e^(s * scale - new max), the rest of the block by 0. Returns the factor that
  // brings what was summed up before to the new maximum. scores: (kBlockTokens).
  [[nodiscard]] float add_block(float* scores, int64_t valid, float scale);
};

}  // namespace bellwether::engine::cpu
