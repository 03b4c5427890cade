// Products of weights in the matrix unit of Intel's CPUs (AMX), on one thread.
//
// A float x is split into two bf16 numbers, high = x rounded and low = x - high rounded, which together are x to 2^-17
// of it; FP8 codes are bf16 numbers already. The unit multiplies pairs exactly and sums in float32 in an order of its
// own, the products of high parts and those of low ones apart, over the columns of a scale block. Both sums together
// are multiplied by the scale and added, fused, to those of the blocks before. So a row of a product is the same bit
// for bit whichever rows, and whichever part of the matrix, are computed with it. It is not what dot_rows() gives: it
// differs in the last of its bits, as sums in two orders do.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "engine/cpu/matrix.h"

namespace bellwether::engine::cpu::amx {

// Whether products are computed here: the CPU and its kernel can, and nobody said set_enabled(false).
[[nodiscard]] bool enabled();

// For tests and comparisons, while nothing is computed. What the CPU cannot do stays disabled.
void set_enabled(bool enabled);

// Whether a matrix of such format, columns and scales can be multiplied here, once it is in the tiles' order:
// enabled(), FP8, in whole 32 columns.
[[nodiscard]] bool takes(const Matrix& w);

// The tiles' order, kTiledFP8. Blocks of 128 outputs follow each other; in them, column after column of scale blocks;
// in these, units of 32 outputs; in a unit, 32 columns of 16 outputs (a tile), the same columns of the other 16, and on
// with the next 32. A tile is lines of 64 codes, each 4 columns of its outputs. So a product of few rows reads memory
// from one end to the other, and every line read is two rows of a tile with few instructions. Outputs are filled up to
// whole units. For each unit a word has a bit for every line that holds a zero or a subnormal, which take more.
inline constexpr int64_t kUnitRows = 32;
[[nodiscard]] int64_t tiled_bytes(const Matrix& w);
[[nodiscard]] int64_t tiled_units(const Matrix& w);

// Writes outputs [row, row + kUnitRows) of a row-major matrix into that order: codes (tiled_bytes(w)), aligned to cache
// lines, and rare_lines (tiled_units(w)), of the whole matrix. REQUIRES: takes(w); row is a multiple of kUnitRows.
void tile_rows(const Matrix& w, int64_t row, std::byte* codes, uint64_t* rare_lines);

// Rows of inputs are laid out in groups of this many at most.
inline constexpr int64_t kGroupRows = 8;

// Room for rows in each group of `rows` rows: few rows take little room, and little time to load.
[[nodiscard]] constexpr int64_t group_width(int64_t rows) {
  return std::min(kGroupRows, static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(rows))));
}

// Bytes of a group of `cols` columns, laid out.
[[nodiscard]] constexpr int64_t packed_bytes(int64_t width, int64_t cols) {
  return width * cols * 4;
}

// Lays out the rows of x, x_stride floats apart, as one group. out: packed_bytes(width, cols), aligned to cache lines.
// REQUIRES: rows <= width, which is some group_width(); enabled(), and a matrix of so many columns is taken.
void pack_group(const float* x, int64_t x_stride, int64_t rows, int64_t cols, int64_t width, std::byte* out);

// As dot_rows() (kernels.h), of rows laid out group after group, each of group_width(rows) rows. REQUIRES: enabled();
// w is kTiledFP8; row_begin is a multiple of kUnitRows, row_end too or w.rows.
void dot_packed(const std::byte* packed, int64_t rows, const Matrix& w, int64_t row_begin, int64_t row_end, float* y,
                int64_t y_stride);

}  // namespace bellwether::engine::cpu::amx
