// How matrices and the KV cache lie in GPU memory. Whatever the tensor cores read lies there as it must lie in shared
// memory: in pieces that one bulk copy takes, with the 16-byte groups of each 128-byte line permuted (wgmma's 128-byte
// swizzle, PTX ISA 9.7.15.5.1), so that no kernel needs a tensor map.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define BELLWETHER_HOST_DEVICE __host__ __device__
#else
#define BELLWETHER_HOST_DEVICE
#endif

namespace bellwether::engine::cuda {

inline constexpr int64_t kTile = 128;                 // rows and columns of a tile of FP8 weights: those of a scale
inline constexpr int64_t kTileBytes = kTile * kTile;  // of FP8 codes
inline constexpr int64_t kPageTokens = 64;            // of the KV cache, = kBlockTokens
inline constexpr int64_t kChunkValues = 64;           // bf16 values of a page's line, 128 bytes
inline constexpr int64_t kChunkBytes = kPageTokens * 2 * kChunkValues;
inline constexpr int64_t kExpertTileRows = 32;  // rows of one expert that are computed together at most

BELLWETHER_HOST_DEVICE constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
BELLWETHER_HOST_DEVICE constexpr int64_t round_up(int64_t a, int64_t b) {
  return ceil_div(a, b) * b;
}

// Byte `byte` of line `line`, lines of 128 bytes from an address that is a multiple of 1024 when line % 8 == 0.
BELLWETHER_HOST_DEVICE constexpr int64_t swizzled(int64_t line, int64_t byte) {
  return line * 128 + (((byte / 16) ^ (line % 8)) * 16) + byte % 16;
}

// An FP8 (e4m3) weight matrix (rows, cols): tile after tile of 128 x 128 codes, row of tiles after row of tiles; codes
// beyond the matrix are 0. One scale for each tile; a weight is its code times its scale.
struct Fp8Matrix {
  const uint8_t* tiles = nullptr;  // (row_tiles, col_tiles, kTileBytes), 128-byte aligned
  const float* scales = nullptr;   // (row_tiles, col_tiles)
  int64_t rows = 0;                // outputs
  int64_t cols = 0;                // inputs

  BELLWETHER_HOST_DEVICE int64_t row_tiles() const { return ceil_div(rows, kTile); }
  BELLWETHER_HOST_DEVICE int64_t col_tiles() const { return ceil_div(cols, kTile); }
  BELLWETHER_HOST_DEVICE int64_t tiles_bytes() const { return row_tiles() * col_tiles() * kTileBytes; }
  BELLWETHER_HOST_DEVICE int64_t offset(int64_t row, int64_t col) const {
    return (row / kTile * col_tiles() + col / kTile) * kTileBytes + swizzled(row % kTile, col % kTile);
  }
};

// Rows of activations in FP8, each with a scale for every 128 columns: x = code * scale, scale = max |x| / 448, so
// that they are what reference/deepseek.md 1.7 calls dynamic 1x128 quantisation. Codes beyond cols are 0; what stands
// in rows that are not used does not matter.
struct Fp8Rows {
  uint8_t* codes = nullptr;  // (col_tiles, rows_padded, 128), swizzled by the row; 128-byte aligned
  float* scales = nullptr;   // (col_tiles, rows_padded)
  int64_t rows_padded = 0;   // a multiple of 8; of 128 for more than 128 rows
  int64_t cols = 0;

  BELLWETHER_HOST_DEVICE static int64_t padded(int64_t rows) { return round_up(rows, rows <= 128 ? 8 : 128); }
  BELLWETHER_HOST_DEVICE int64_t col_tiles() const { return ceil_div(cols, kTile); }
  BELLWETHER_HOST_DEVICE int64_t codes_bytes() const { return col_tiles() * rows_padded * kTile; }
  BELLWETHER_HOST_DEVICE int64_t scales_count() const { return col_tiles() * rows_padded; }
  BELLWETHER_HOST_DEVICE int64_t offset(int64_t row, int64_t col) const {
    return col / kTile * rows_padded * kTile + swizzled(row, col % kTile);
  }
  BELLWETHER_HOST_DEVICE int64_t scale_offset(int64_t row, int64_t col) const {
    return col / kTile * rows_padded + row;
  }
};

// The KV cache of one layer: pages of kPageTokens tokens, each `width` bf16 values (latent, then the turned shared
// key), as chunks of 64 values: (pages, chunks, kPageTokens, 64), swizzled by the token. Values beyond width: any
// finite.
struct KvPages {
  uint8_t* data = nullptr;  // 128-byte aligned
  int64_t width = 0;

  BELLWETHER_HOST_DEVICE int64_t chunks() const { return ceil_div(width, kChunkValues); }
  BELLWETHER_HOST_DEVICE int64_t page_bytes() const { return chunks() * kChunkBytes; }
  BELLWETHER_HOST_DEVICE int64_t offset(int64_t page, int64_t token, int64_t column) const {  // in bytes
    return page * page_bytes() + column / kChunkValues * kChunkBytes + swizzled(token, column % kChunkValues * 2);
  }
};

// The gate and up projections of MLPs of one shape, as one Fp8Matrix each whose tile rows alternate: gate rows
// [0, 128), up rows [0, 128), gate rows [128, 256), ... Inner sizes are filled up to 128 with codes of 0.
// gate_up: (2 * round_up(inner, 128), hidden); down: (hidden, inner).
struct Experts {
  const uint8_t* gate_up = nullptr;       // (experts, tiles of gate and up)
  const float* gate_up_scales = nullptr;  // (experts, ...)
  const uint8_t* down = nullptr;          // (experts, tiles of down)
  const float* down_scales = nullptr;     // (experts, ...)
  int64_t experts = 0;
  int64_t hidden = 0;
  int64_t inner = 0;

  BELLWETHER_HOST_DEVICE int64_t inner_tiles() const { return ceil_div(inner, kTile); }
  BELLWETHER_HOST_DEVICE Fp8Matrix gate_up_of(int64_t expert) const {
    const int64_t tiles = 2 * inner_tiles() * ceil_div(hidden, kTile);
    return {gate_up + expert * tiles * kTileBytes, gate_up_scales + expert * tiles, 2 * inner_tiles() * kTile, hidden};
  }
  BELLWETHER_HOST_DEVICE Fp8Matrix down_of(int64_t expert) const {
    const int64_t tiles = ceil_div(hidden, kTile) * inner_tiles();
    return {down + expert * tiles * kTileBytes, down_scales + expert * tiles, hidden, inner};
  }
};

struct ExpertChoice {
  int32_t expert;
  float weight;
};

// Rows of one expert that are computed together.
struct ExpertTile {
  int32_t expert;
  int32_t slot;  // the first, a multiple of 8
  int32_t rows;  // 1 to kExpertTileRows
  int32_t unused;
};

// Which rows each expert computes, sorted by expert, made on the GPU by group_rows(). A slot is a row of one expert;
// each expert's slots begin at a multiple of 8.
struct ExpertPlan {
  int32_t* tile_count = nullptr;   // (1)
  ExpertTile* tiles = nullptr;     // (tiles_max), the first *tile_count are valid
  int32_t* slot_row = nullptr;     // (slots_max) the batch's row; -1 in slots between experts
  float* slot_weight = nullptr;    // (slots_max)
  int32_t* choice_slot = nullptr;  // (rows, choices)
  int64_t rows = 0;                // of the batch
  int64_t choices = 0;             // experts of each row, those that every row takes included
  int64_t experts = 0;             // the same

  BELLWETHER_HOST_DEVICE int64_t busy_max() const { return rows * choices < experts ? rows * choices : experts; }
  BELLWETHER_HOST_DEVICE int64_t tiles_max() const { return busy_max() + rows * choices / kExpertTileRows; }
  // All of them may be read, so what is indexed by slot needs this many.
  BELLWETHER_HOST_DEVICE int64_t slots_max() const {
    return round_up(rows * choices + 7 * busy_max() + kExpertTileRows, 128);
  }
};

}  // namespace bellwether::engine::cuda
