#include "engine/cpu/amx.h"

#include <atomic>

#include "engine/invariant.h"

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <type_traits>

// The rest of the program runs on CPUs that have none of this.
#define BELLWETHER_AMX \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512bf16,amx-tile,amx-bf16")))
#define BELLWETHER_AMX_INLINE BELLWETHER_AMX __attribute__((always_inline)) inline

namespace bellwether::engine::cpu::amx {
namespace {

constexpr int64_t kLine = 64;         // bytes: of a cache line, of a row of a tile
constexpr int64_t kTileRows = 16;     // outputs in a tile of weights
constexpr int64_t kTileBytes = 1024;  // of a tile
constexpr int64_t kStep = 32;         // columns that one instruction multiplies
constexpr int64_t kUnit = 2 * kStep;  // columns that are unpacked together
constexpr int64_t kTiles = 2;         // of weights that are multiplied together: a strip of outputs
constexpr int64_t kStrip = kTiles * kTileRows;
constexpr int64_t kTileSums = kTileRows * kGroupRows;
constexpr int64_t kGroupSums = kTiles * kTileSums;
constexpr int64_t kRowBlock = 16 * kGroupRows;  // rows of inputs that a second-level cache keeps for all outputs

// A process must ask its kernel for the tiles' registers once, before its threads use them.
bool request_permission() {
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM, which older headers lack
  constexpr int kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool is_supported() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kBf16 = 1U << 22;
  constexpr unsigned kTile = 1U << 24;
  if ((d & kBf16) == 0 || (d & kTile) == 0) return false;
  return __builtin_cpu_supports("avx512vbmi") != 0 && __builtin_cpu_supports("avx512bf16") != 0 &&
         __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
         __builtin_cpu_supports("avx512dq") != 0 && request_permission();
}

std::atomic<bool>& switched_on() {
  static std::atomic<bool> is_on = is_supported();
  return is_on;
}

// FP8 codes become bf16 numbers that are their values times 2^-8: then what is added to the code's exponent has none of
// its four bits set. Scales make up for it.
constexpr float kCodeScale = 256;
constexpr unsigned kExponent = 127 - 7 - 8;

// bf16 bits of the magnitude codes 0 to 127, low bytes and high bytes apart.
struct CodeTables {
  alignas(64) std::array<uint8_t, 128> low;
  alignas(64) std::array<uint8_t, 128> high;
};

constexpr CodeTables make_tables() {
  CodeTables tables{};
  for (unsigned code = 1; code < 128; ++code) {
    unsigned exponent = kExponent + (code >> 3);
    unsigned mantissa = code & 7;
    if (code < 8) {  // subnormal: brought to the form 1.xxx
      for (++exponent; mantissa < 8; --exponent) mantissa *= 2;
    }
    const unsigned bits = (exponent << 7) | ((mantissa & 7) << 4);
    tables.low[code] = static_cast<uint8_t>(bits & 0xFF);
    tables.high[code] = static_cast<uint8_t>(bits >> 8);
  }
  return tables;
}

constexpr CodeTables kTables = make_tables();

// 64 codes to bf16: those of even columns, and those of odd ones to the next step's tile. pack() takes inputs in this
// order.
BELLWETHER_AMX_INLINE void unpack_normal(__m512i codes, std::byte* even, std::byte* odd) {
  const __m512i kept = _mm512_set1_epi16(static_cast<int16_t>(0x87F0));
  const __m512i exponent = _mm512_set1_epi16(kExponent << 7);
  constexpr int kAndOr = 0xEA;  // (a & b) | c
  const __m512i even_codes = _mm512_srai_epi16(_mm512_slli_epi16(codes, 8), 4);
  const __m512i odd_codes = _mm512_srai_epi16(codes, 4);
  _mm512_store_si512(even, _mm512_ternarylogic_epi32(even_codes, kept, exponent, kAndOr));
  _mm512_store_si512(odd, _mm512_ternarylogic_epi32(odd_codes, kept, exponent, kAndOr));
}

// The same where there may be zeros and subnormals, which are rare.
BELLWETHER_AMX_INLINE void unpack_any(__m512i codes, std::byte* even, std::byte* odd) {
  const __m512i low = _mm512_permutex2var_epi8(_mm512_load_si512(kTables.low.data()), codes,
                                               _mm512_load_si512(kTables.low.data() + 64));
  const __m512i magnitude = _mm512_permutex2var_epi8(_mm512_load_si512(kTables.high.data()), codes,
                                                     _mm512_load_si512(kTables.high.data() + 64));
  constexpr int kOrAnd = 0xF8;  // a | (b & c)
  const __m512i high = _mm512_ternarylogic_epi32(magnitude, codes, _mm512_set1_epi8(-128), kOrAnd);
  const __m512i low_bytes = _mm512_set1_epi16(0xFF);
  _mm512_store_si512(even, _mm512_ternarylogic_epi32(_mm512_slli_epi16(high, 8), low, low_bytes, kOrAnd));
  _mm512_store_si512(odd, _mm512_or_si512(_mm512_srli_epi16(low, 8), _mm512_andnot_si512(low_bytes, high)));
}

BELLWETHER_AMX_INLINE __mmask64 not_normal(__m512i codes) {
  return _mm512_testn_epi8_mask(codes, _mm512_set1_epi8(0x78));
}

// Columns [col, col_end), which share a scale in each row, of outputs [row, row_end).
struct Block {
  int64_t row = 0;
  int64_t row_end = 0;
  int64_t col = 0;
  int64_t col_end = 0;
};

// The blocks of outputs [row_begin, row_end), strip after strip.
class Blocks {
 public:
  Blocks(const Matrix& w, int64_t row_begin, int64_t row_end) : w_(&w), row_end_(row_end) { start(row_begin); }

  [[nodiscard]] const Block& operator*() const { return block_; }
  [[nodiscard]] bool at_end() const { return block_.row >= row_end_; }
  void advance() {
    if (block_.col_end == w_->cols) return start(block_.row_end);
    block_.col = block_.col_end;
    block_.col_end = end_of(block_.col);
  }

 private:
  [[nodiscard]] int64_t end_of(int64_t col) const { return std::min(w_->next_scale(col), w_->cols); }
  void start(int64_t row) { block_ = {row, std::min(row + kStrip, row_end_), 0, end_of(0)}; }

  const Matrix* w_;
  int64_t row_end_;
  Block block_;
};

BELLWETHER_AMX_INLINE const std::byte* address(const Matrix& w, int64_t row, int64_t col) {
  return w.data + row * w.stride + col;
}

BELLWETHER_AMX void unpack_row(const Matrix& w, int64_t row, const Block& block, std::byte* to) {
  constexpr int64_t kStride = kTiles * kTileBytes;
  const std::byte* from = address(w, row, block.col);
  for (int64_t k = 0; k < block.col_end - block.col; k += kUnit, to += 2 * kStride) {
    unpack_any(_mm512_loadu_si512(from + k), to, to + kStride);
  }
}

// kCount whole rows of a block from `row` on, whose tiles' rows are neighbours from `to` on; asks memory for as many
// bytes from `soon` on. Zeros and subnormals are looked for once for all rows.
template <int64_t kCount>
BELLWETHER_AMX_INLINE void unpack_rows(const Matrix& w, int64_t row, const Block& block, const char* soon,
                                       std::byte* to) {
  constexpr int64_t kStride = kTiles * kTileBytes;
  const std::byte* from = address(w, row, block.col);
  __mmask64 others = 0;
#pragma unroll
  for (int64_t i = 0; i < kCount; ++i) {
    _mm_prefetch(soon + i * kScaleBlock, _MM_HINT_T1);
    _mm_prefetch(soon + i * kScaleBlock + kLine, _MM_HINT_T1);
    const __m512i first = _mm512_loadu_si512(from);
    const __m512i second = _mm512_loadu_si512(from + kUnit);
    others = _kor_mask64(others, _kor_mask64(not_normal(first), not_normal(second)));
    unpack_normal(first, to + i * kLine, to + i * kLine + kStride);
    unpack_normal(second, to + i * kLine + 2 * kStride, to + i * kLine + 3 * kStride);
    from += w.stride;
  }
  if (__builtin_expect(static_cast<long>(others != 0), 0) == 0) return;
  for (int64_t i = 0; i < kCount; ++i) {
    from = address(w, row + i, block.col);
    others = not_normal(_mm512_loadu_si512(from)) | not_normal(_mm512_loadu_si512(from + kUnit));
    if (others != 0) unpack_row(w, row + i, block, to + i * kLine);
  }
}

// Outputs [begin, begin + kCount) of a block's strip as tiles (steps, kTiles, kTileBytes), with zeros beyond the
// block's last. Asks memory for as much of the strip that follows, in the order of addresses: in any other memory is
// slower.
template <int64_t kCount>
BELLWETHER_AMX_INLINE void unpack(const Matrix& w, const Block& block, int64_t begin, std::byte* tiles) {
  static_assert(kTileRows % kCount == 0);
  std::byte* to = tiles + begin / kTileRows * kTileBytes + begin % kTileRows * kLine;
  const int64_t row = block.row + begin;
  if (__builtin_expect(static_cast<long>(block.col_end - block.col == kScaleBlock && row + kCount <= block.row_end),
                       1) != 0) {
    const std::byte* soon = address(w, block.row + kStrip, 0) + block.col * kStrip + begin * kScaleBlock;
    return unpack_rows<kCount>(w, row, block, reinterpret_cast<const char*>(soon), to);
  }
  for (int64_t i = 0; i < kCount; ++i, to += kLine) {
    if (row + i < block.row_end) {
      unpack_row(w, row + i, block, to);
      continue;
    }
    for (int64_t k = 0; k < block.col_end - block.col; k += kStep) {
      _mm512_store_si512(to + k / kStep * kTiles * kTileBytes, _mm512_setzero_si512());
    }
  }
}

// Tiles 0 to 3 hold sums, 6 and 7 inputs, both of `width` rows of inputs, high parts and low ones; 4 and 5 weights.
struct alignas(64) TileConfig {
  explicit TileConfig(int64_t width) {
    for (const size_t tile : {0, 1, 2, 3, 6, 7}) row_bytes[tile] = static_cast<uint16_t>(8 * width);
  }

  uint8_t palette = 1;
  uint8_t start_row = 0;
  std::array<uint8_t, 14> reserved{};
  std::array<uint16_t, 16> row_bytes{kLine, kLine, kLine, kLine, kLine, kLine, kLine, kLine};
  std::array<uint8_t, 16> rows{kTileRows, kTileRows, kTileRows, kTileRows, kTileRows, kTileRows, kTileRows, kTileRows};
};
static_assert(sizeof(TileConfig) == 64);

// Elements of n vectors in turn: the first of each vector, then the second of each, and so on.
template <int64_t n>
BELLWETHER_AMX_INLINE void interleave(__m512i (&v)[n]) {
  const __m512i lower = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i upper = _mm512_add_epi32(lower, _mm512_set1_epi32(8));
  // `vectors` is how many a stream has by now: streams i and i + half become one.
  for (int64_t vectors = 1; vectors < n; vectors *= 2) {
    const int64_t half = n / 2;
    __m512i together[n];
    for (int64_t i = 0; i < half; ++i) {
      together[2 * i] = _mm512_permutex2var_epi32(v[i], lower, v[i + half]);
      together[2 * i + 1] = _mm512_permutex2var_epi32(v[i], upper, v[i + half]);
    }
    for (int64_t i = 0; i < n; ++i) v[i] = together[i];
  }
}

// The other way round.
template <int64_t n>
BELLWETHER_AMX_INLINE void separate(__m512i (&v)[n]) {
  const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odds = _mm512_add_epi32(evens, _mm512_set1_epi32(1));
  for (int64_t vectors = 1; vectors < n; vectors *= 2) {
    const int64_t half = n / 2;
    __m512i apart[n];
    for (int64_t i = 0; i < half; ++i) {
      apart[i] = _mm512_permutex2var_epi32(v[2 * i], evens, v[2 * i + 1]);
      apart[i + half] = _mm512_permutex2var_epi32(v[2 * i], odds, v[2 * i + 1]);
    }
    for (int64_t i = 0; i < n; ++i) v[i] = apart[i];
  }
}

// sums (kTileRows, kWidth) = or += scales * (high + low of the tile (kTileRows, kWidth, 2))
template <int kTile, int64_t kWidth>
BELLWETHER_AMX_INLINE void add_tile(const float* scales, bool is_first, float* sums) {
  alignas(64) std::array<float, 2 * kTileRows * kWidth> tile;
  _tile_stored(kTile, tile.data(), 8 * kWidth);
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i evens = _mm512_slli_epi32(lanes, 1);
  const __m512i odds = _mm512_add_epi32(evens, _mm512_set1_epi32(1));
  const __m512 scale_of_output = _mm512_load_ps(scales);
  for (int64_t i = 0; i < kWidth; ++i, sums += 16) {
    const __m512i outputs = _mm512_srli_epi32(_mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(16 * i))),
                                              static_cast<unsigned>(std::countr_zero(static_cast<uint64_t>(kWidth))));
    const __m512 factors = _mm512_permutexvar_ps(outputs, scale_of_output);
    const __m512 a = _mm512_load_ps(tile.data() + 32 * i);
    const __m512 b = _mm512_load_ps(tile.data() + 32 * i + 16);
    const __m512 products = _mm512_add_ps(_mm512_permutex2var_ps(a, evens, b), _mm512_permutex2var_ps(a, odds, b));
    const __m512 before = is_first ? _mm512_setzero_ps() : _mm512_load_ps(sums);
    _mm512_store_ps(sums, _mm512_fmadd_ps(factors, products, before));
  }
}

// A block times one group of rows. Calls between(step) after each step's instructions: the CPU does both at once.
// inputs: (steps, 16 pairs of columns, kWidth, high and low, 2); sums: (kTiles, kTileRows, kWidth).
template <int64_t kWidth, class Between>
BELLWETHER_AMX_INLINE void multiply_group(const std::byte* weights, const std::byte* inputs, int64_t steps,
                                          const float* scales, bool is_first, float* sums, Between&& between) {
  _tile_zero(0);
  _tile_zero(1);
  for (int64_t step = 0; step < steps; ++step) {
    const std::byte* a = weights + step * kTiles * kTileBytes;
    _tile_loadd(6, inputs + step * packed_bytes(kWidth, kStep), 8 * kWidth);
    _tile_loadd(4, a, kLine);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, a + kTileBytes, kLine);
    _tile_dpbf16ps(1, 5, 6);
    between(step);
  }
  add_tile<0, kWidth>(scales, is_first, sums);
  add_tile<1, kWidth>(scales + kTileRows, is_first, sums + kTileRows * kWidth);
}

// The same of two whole groups: half as many loads for each product.
template <class Between>
BELLWETHER_AMX_INLINE void multiply_two_groups(const std::byte* weights, const std::byte* inputs, int64_t group_bytes,
                                               int64_t steps, const float* scales, bool is_first, float* sums,
                                               Between&& between) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t step = 0; step < steps; ++step) {
    const std::byte* a = weights + step * kTiles * kTileBytes;
    const std::byte* b = inputs + step * kTileBytes;
    _tile_loadd(4, a, kLine);
    _tile_loadd(6, b, kLine);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + group_bytes, kLine);
    _tile_dpbf16ps(2, 4, 7);
    _tile_loadd(5, a + kTileBytes, kLine);
    _tile_dpbf16ps(1, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    between(step);
  }
  add_tile<0, kGroupRows>(scales, is_first, sums);
  add_tile<1, kGroupRows>(scales + kTileRows, is_first, sums + kTileSums);
  add_tile<2, kGroupRows>(scales, is_first, sums + kGroupSums);
  add_tile<3, kGroupRows>(scales + kTileRows, is_first, sums + kGroupSums + kTileSums);
}

// y (rows, outputs) = sums (outputs, kWidth)
template <int64_t kWidth>
BELLWETHER_AMX_INLINE void store_sums(const float* sums, int64_t rows, int64_t outputs, float* y, int64_t y_stride) {
  __m512i v[kWidth];
  for (int64_t i = 0; i < kWidth; ++i) v[i] = _mm512_load_si512(sums + i * 16);
  separate(v);
  const auto mask = static_cast<__mmask16>((1U << outputs) - 1);
  for (int64_t r = 0; r < kWidth; ++r) {
    if (r < rows) _mm512_mask_storeu_epi32(y + r * y_stride, mask, v[r]);
  }
}

// While one block is multiplied, the next is unpacked. Rows: kRowBlock at most, in groups of kWidth.
template <int64_t kWidth>
BELLWETHER_AMX void dot_strips(const std::byte* packed, int64_t rows, const Matrix& w, int64_t row_begin,
                               int64_t row_end, float* y, int64_t y_stride) {
  constexpr int64_t kPart = kStrip * kStep / kScaleBlock;  // outputs that are unpacked during each step
  alignas(64) std::array<std::byte, kScaleBlock / kStep * kTiles * kTileBytes> weights[2];
  alignas(64) std::array<float, kRowBlock / kGroupRows * kGroupSums> sums;
  alignas(64) std::array<float, kStrip> scales{};
  const int64_t groups = (rows + kWidth - 1) / kWidth;
  const int64_t group_bytes = packed_bytes(kWidth, w.cols);
  Blocks blocks(w, row_begin, row_end);
  Blocks following = blocks;
  for (int64_t i = 0; i < kStrip; i += kPart) unpack<kPart>(w, *blocks, i, weights[0].data());
  for (int current = 0; !blocks.at_end(); current = 1 - current) {
    const Block block = *blocks;
    following.advance();
    const Block next = following.at_end() ? Block{} : *following;
    for (int64_t o = block.row, end = 0; o < block.row_end; o = end) {
      end = std::min(w.next_scale_row(o), block.row_end);
      std::fill_n(scales.data() + (o - block.row), end - o, w.scale_of(o, block.col) * kCodeScale);
    }
    const std::byte* tiles = weights[current].data();
    std::byte* next_tiles = weights[1 - current].data();
    const int64_t steps = (block.col_end - block.col) / kStep;
    const auto unpack_next = [&](int64_t step) BELLWETHER_AMX {
      unpack<kPart>(w, next, step * kPart, next_tiles);
      if (step + 1 < steps) return;
      for (int64_t i = steps * kPart; i < kStrip; i += kPart) unpack<kPart>(w, next, i, next_tiles);
    };
    const auto nothing = [](int64_t) {};
    const std::byte* inputs = packed + packed_bytes(kWidth, block.col);
    const bool is_first = block.col == 0;
    int64_t group = 0;
    if (groups == 1) {
      multiply_group<kWidth>(tiles, inputs, steps, scales.data(), is_first, sums.data(), unpack_next);
      group = 1;
    }
    for (; group < groups; group += 2) {
      const std::byte* group_inputs = inputs + group * group_bytes;
      float* group_sums = sums.data() + group * kGroupSums;
      if (group == 0) {
        multiply_two_groups(tiles, group_inputs, group_bytes, steps, scales.data(), is_first, group_sums, unpack_next);
      } else if (group + 1 < groups) {
        multiply_two_groups(tiles, group_inputs, group_bytes, steps, scales.data(), is_first, group_sums, nothing);
      } else {
        multiply_group<kWidth>(tiles, group_inputs, steps, scales.data(), is_first, group_sums, nothing);
      }
    }
    blocks.advance();
    if (block.col_end < w.cols) continue;
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t o = 0; o < block.row_end - block.row; o += kTileRows) {
        store_sums<kWidth>(sums.data() + g * kGroupSums + o * kWidth, std::min(kWidth, rows - g * kWidth),
                           std::min(kTileRows, block.row_end - block.row - o),
                           y + g * kWidth * y_stride + (block.row + o - row_begin), y_stride);
      }
    }
  }
}

template <int64_t kWidth>
BELLWETHER_AMX void dot_all(const std::byte* packed, int64_t rows, const Matrix& w, int64_t row_begin, int64_t row_end,
                            float* y, int64_t y_stride) {
  const TileConfig config(kWidth);
  _tile_loadconfig(&config);
  for (int64_t r = 0; r < rows; r += kRowBlock) {
    dot_strips<kWidth>(packed + packed_bytes(r, w.cols), std::min(kRowBlock, rows - r), w, row_begin, row_end,
                       y + r * y_stride, y_stride);
  }
  _tile_release();  // registers in use would make every change of threads slower
}

// 32 numbers as pairs of bf16, high and low.
BELLWETHER_AMX_INLINE void split(__m512 a, __m512 b, __m512i* high, __m512i* low) {
  const auto rounded = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b, a));
  const auto widened = [](__m256i half) BELLWETHER_AMX {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  };
  const __m512 high_a = widened(_mm512_castsi512_si256(rounded));
  const __m512 high_b = widened(_mm512_extracti64x4_epi64(rounded, 1));
  *high = rounded;
  *low = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(_mm512_sub_ps(b, high_b), _mm512_sub_ps(a, high_a)));
}

// 32 numbers of a row, those of even columns of its 64 or those of odd ones, as unpack_normal() orders weights.
BELLWETHER_AMX_INLINE void split_step(const float* row, int64_t col, __m512i* high, __m512i* low) {
  const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i chosen = col % kUnit == 0 ? evens : _mm512_add_epi32(evens, _mm512_set1_epi32(1));
  const float* from = row + col / kUnit * kUnit;
  const __m512 a = _mm512_loadu_ps(from);
  const __m512 b = _mm512_loadu_ps(from + 16);
  const __m512 c = _mm512_loadu_ps(from + 32);
  const __m512 d = _mm512_loadu_ps(from + 48);
  split(_mm512_permutex2var_ps(a, chosen, b), _mm512_permutex2var_ps(c, chosen, d), high, low);
}

// For each 32 columns a tile of inputs: (16 pairs of columns, kWidth, high and low, 2).
template <int64_t kWidth>
BELLWETHER_AMX void pack(const float* x, int64_t x_stride, int64_t rows, int64_t cols, std::byte* out) {
  for (int64_t k = 0; k < cols; k += kStep) {
    __m512i v[2 * kWidth];
    for (int64_t r = 0; r < kWidth; ++r) {
      v[2 * r] = v[2 * r + 1] = _mm512_setzero_si512();
      if (r < rows) split_step(x + r * x_stride, k, &v[2 * r], &v[2 * r + 1]);
    }
    interleave(v);
    for (int64_t i = 0; i < 2 * kWidth; ++i, out += kLine) _mm512_store_si512(out, v[i]);
  }
}

// Calls work(width as a constant) for one of the widths of groups.
template <class Work>
void with_width(int64_t width, Work&& work) {
  switch (width) {
    case 1:
      return work(std::integral_constant<int64_t, 1>());
    case 2:
      return work(std::integral_constant<int64_t, 2>());
    case 4:
      return work(std::integral_constant<int64_t, 4>());
    default:
      return work(std::integral_constant<int64_t, kGroupRows>());
  }
}

}  // namespace

bool enabled() {
  return switched_on().load(std::memory_order_relaxed);
}

void set_enabled(bool enabled) {
  static const bool is_possible = is_supported();
  switched_on().store(enabled && is_possible, std::memory_order_relaxed);
}

void pack_group(const float* x, int64_t x_stride, int64_t rows, int64_t cols, int64_t width, std::byte* out) {
  with_width(width, [&](auto constant) { pack<constant()>(x, x_stride, rows, cols, out); });
}

void dot_packed(const std::byte* packed, int64_t rows, const Matrix& w, int64_t row_begin, int64_t row_end, float* y,
                int64_t y_stride) {
  if (rows == 0 || row_begin == row_end) return;
  with_width(group_width(rows),
             [&](auto constant) { dot_all<constant()>(packed, rows, w, row_begin, row_end, y, y_stride); });
}

// Routers are bf16: they stay in float32, for a small difference there can choose another expert. So does the output's
// matrix, which few rows are multiplied with.
bool takes(const Matrix& w) {
  return w.format == Matrix::Format::kFP8 && w.cols > 0 && w.cols % kUnit == 0 && w.scale_col % kUnit == 0;
}

}  // namespace bellwether::engine::cpu::amx

#else

namespace bellwether::engine::cpu::amx {

bool enabled() {
  return false;
}

void set_enabled(bool) {}

bool takes(const Matrix&) {
  return false;
}

void pack_group(const float*, int64_t, int64_t, int64_t, int64_t, std::byte*) {
  require(false, "no AMX here");
}

void dot_packed(const std::byte*, int64_t, const Matrix&, int64_t, int64_t, float*, int64_t) {
  require(false, "no AMX here");
}

}  // namespace bellwether::engine::cpu::amx

#endif
