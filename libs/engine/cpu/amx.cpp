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
constexpr int64_t kStep = 32;         // columns in a tile of weights
constexpr int64_t kTiles = 2;         // that are multiplied together
constexpr int64_t kStepBytes = kTiles * kTileBytes;
constexpr int64_t kTileLines = kTileBytes / kLine / 2;  // of codes
constexpr int64_t kLineCols = 4;
constexpr int64_t kStepsMax = kScaleBlock / kStep;
constexpr int64_t kUnitsOfBlock = kScaleBlock / kUnitRows;
constexpr int64_t kSums = kUnitRows * kGroupRows;  // of a unit and a group
constexpr int64_t kGroupsMax = 16;                 // that a second-level cache keeps for all outputs
constexpr int64_t kFewGroups = 2;

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

// A line of 64 codes to bf16: two neighbouring rows of a tile. The low byte of each 16 bits goes to the first.
BELLWETHER_AMX_INLINE void unpack_normal(__m512i codes, std::byte* to) {
  const __m512i kept = _mm512_set1_epi16(static_cast<int16_t>(0x87F0));
  const __m512i exponent = _mm512_set1_epi16(kExponent << 7);
  constexpr int kAndOr = 0xEA;  // (a & b) | c
  const __m512i first = _mm512_srai_epi16(_mm512_slli_epi16(codes, 8), 4);
  const __m512i second = _mm512_srai_epi16(codes, 4);
  _mm512_store_si512(to, _mm512_ternarylogic_epi32(first, kept, exponent, kAndOr));
  _mm512_store_si512(to + kLine, _mm512_ternarylogic_epi32(second, kept, exponent, kAndOr));
}

// The same where there are zeros and subnormals, which are rare.
BELLWETHER_AMX void unpack_any(__m512i codes, std::byte* to) {
  const __m512i low = _mm512_permutex2var_epi8(_mm512_load_si512(kTables.low.data()), codes,
                                               _mm512_load_si512(kTables.low.data() + 64));
  const __m512i magnitude = _mm512_permutex2var_epi8(_mm512_load_si512(kTables.high.data()), codes,
                                                     _mm512_load_si512(kTables.high.data() + 64));
  constexpr int kOrAnd = 0xF8;  // a | (b & c)
  const __m512i high = _mm512_ternarylogic_epi32(magnitude, codes, _mm512_set1_epi8(-128), kOrAnd);
  const __m512i low_bytes = _mm512_set1_epi16(0xFF);
  _mm512_store_si512(to, _mm512_ternarylogic_epi32(_mm512_slli_epi16(high, 8), low, low_bytes, kOrAnd));
  _mm512_store_si512(to + kLine, _mm512_or_si512(_mm512_srli_epi16(low, 8), _mm512_andnot_si512(low_bytes, high)));
}

int64_t padded_rows(const Matrix& w) {
  return (w.rows + kUnitRows - 1) / kUnitRows * kUnitRows;
}

// Columns [col, col_end), which share a scale in each row, of outputs [row, row + kUnitRows).
struct Unit {
  int64_t row = 0;
  int64_t col = 0;
  int64_t col_end = 0;

  [[nodiscard]] int64_t steps() const { return (col_end - col) / kStep; }
};

int64_t column_end(const Matrix& w, int64_t col) {
  return std::min(w.next_scale(col), w.cols);
}

// Where a unit's codes are, in bytes.
int64_t place_of(const Matrix& w, const Unit& unit) {
  const int64_t first = unit.row / kScaleBlock * kScaleBlock;
  const int64_t block_rows = std::min(kScaleBlock, padded_rows(w) - first);
  return first * w.cols + unit.col * block_rows + (unit.row - first) * (unit.col_end - unit.col);
}

// Which word of Matrix::rare_lines is a unit's.
int64_t word_of(const Matrix& w, const Unit& unit) {
  const int64_t blocks = (w.cols + w.scale_col + kScaleBlock - 1) / kScaleBlock;
  return unit.row / kUnitRows * blocks + (unit.col + w.scale_col) / kScaleBlock;
}

// The units of outputs [row_begin, row_end), either in the order of memory, or so that the columns of each output
// follow each other.
class Units {
 public:
  Units(const Matrix& w, int64_t row_begin, int64_t row_end, bool columns_first)
      : w_(&w), row_end_(row_end), columns_first_(columns_first) {
    start(row_begin);
  }

  [[nodiscard]] const Unit& operator*() const { return unit_; }
  [[nodiscard]] bool at_end() const { return unit_.row >= row_end_; }
  // Which of those units it is whose sums wait for columns to come.
  [[nodiscard]] int64_t waiting() const { return columns_first_ ? 0 : unit_.row / kUnitRows % kUnitsOfBlock; }

  void advance() {
    const int64_t next_row = unit_.row + kUnitRows;
    if (!columns_first_ && next_row < block_end_) {
      unit_.row = next_row;
    } else if (unit_.col_end < w_->cols) {
      unit_ = {columns_first_ ? unit_.row : block_begin_, unit_.col_end, column_end(*w_, unit_.col_end)};
    } else {
      start(next_row);
    }
  }

 private:
  void start(int64_t row) {
    block_begin_ = row;
    block_end_ = std::min(row / kScaleBlock * kScaleBlock + kScaleBlock, row_end_);
    unit_ = {row, 0, column_end(*w_, 0)};
  }

  const Matrix* w_;
  int64_t row_end_;
  bool columns_first_;
  Unit unit_;
  int64_t block_begin_ = 0;  // the range of outputs that are computed together
  int64_t block_end_ = 0;
};

// A unit's codes on their way to tiles.
struct Source {
  Source() = default;
  Source(const Matrix& w, const Unit& unit)
      : codes(w.data + place_of(w, unit)), rare(w.rare_lines[word_of(w, unit)]), steps(unit.steps()) {}

  const std::byte* codes = nullptr;
  uint64_t rare = 0;
  int64_t steps = 0;
};

// How far ahead of its use memory is asked for: for the second-level cache, and from there for the first.
constexpr int64_t kAheadFar = 6 * 1024;
constexpr int64_t kAheadNear = 2 * 1024;

BELLWETHER_AMX_INLINE void unpack_tile(const Source& source, int64_t step, int64_t tile, std::byte* tiles) {
  const int64_t first_line = (step * kTiles + tile) * kTileLines;
  const std::byte* from = source.codes + first_line * kLine;
  std::byte* to = tiles + first_line * 2 * kLine;
#pragma unroll
  for (int64_t i = 0; i < kTileLines; ++i) {
    const char* line = reinterpret_cast<const char*>(from + i * kLine);
    _mm_prefetch(line + kAheadFar, _MM_HINT_T1);
    _mm_prefetch(line + kAheadNear, _MM_HINT_T0);
    unpack_normal(_mm512_load_si512(line), to + i * 2 * kLine);
  }
  constexpr uint64_t kLines = (1U << kTileLines) - 1;
  for (uint64_t rare = source.rare >> first_line & kLines; rare != 0; rare &= rare - 1) {
    const int64_t i = std::countr_zero(rare);
    unpack_any(_mm512_load_si512(from + i * kLine), to + i * 2 * kLine);
  }
}

// Tiles 0 to 3 hold sums and 6 and 7 inputs, both of `width` rows of inputs, first high parts, then low ones; 4 and 5
// weights.
struct alignas(64) TileConfig {
  explicit TileConfig(int64_t width) {
    for (const size_t tile : {0, 1, 2, 3, 6, 7}) rows[tile] = static_cast<uint8_t>(2 * width);
  }

  uint8_t palette = 1;
  uint8_t start_row = 0;
  std::array<uint8_t, 14> reserved{};
  std::array<uint16_t, 16> row_bytes{kLine, kLine, kLine, kLine, kLine, kLine, kLine, kLine};
  std::array<uint8_t, 16> rows{kTileRows, kTileRows, kTileRows, kTileRows, kTileRows, kTileRows, kTileRows, kTileRows};
};
static_assert(sizeof(TileConfig) == 64);

// sums (kWidth, kTileRows) = or += scales * (high + low of the tile)
template <int kTile, int64_t kWidth>
BELLWETHER_AMX_INLINE void add_tile(__m512 scales, bool is_first, float* sums) {
  alignas(64) std::array<float, 2 * kWidth * kTileRows> tile;
  _tile_stored(kTile, tile.data(), kLine);
  for (int64_t i = 0; i < kWidth * kTileRows; i += kTileRows) {
    const __m512 products =
        _mm512_add_ps(_mm512_load_ps(tile.data() + i), _mm512_load_ps(tile.data() + kWidth * kTileRows + i));
    const __m512 before = is_first ? _mm512_setzero_ps() : _mm512_load_ps(sums + i);
    _mm512_store_ps(sums + i, _mm512_fmadd_ps(scales, products, before));
  }
}

// The scales of a unit's outputs.
struct Scales {
  __m512 v[kTiles];
};

BELLWETHER_AMX_INLINE Scales scales_of(const Matrix& w, const Unit& unit) {
  Scales scales;
  for (int64_t t = 0; t < kTiles; ++t) {
    const int64_t row = unit.row + t * kTileRows;
    scales.v[t] = _mm512_set1_ps(row < w.rows ? w.scale_of(row, unit.col) * kCodeScale : 0);
    const int64_t next = w.next_scale_row(row);
    if (next >= std::min(row + kTileRows, w.rows)) continue;
    const auto others = static_cast<__mmask16>(0xFFFFU << (next - row));
    scales.v[t] = _mm512_mask_mov_ps(scales.v[t], others, _mm512_set1_ps(w.scale_of(next, unit.col) * kCodeScale));
  }
  return scales;
}

// A unit times one group of rows. Calls between(step, tile) after each tile: the CPU does both at once, as far as it
// looks ahead.
// inputs: (steps, high and low, kWidth, kStep); sums: (kTiles, kWidth, kTileRows).
template <int64_t kWidth, class Between>
BELLWETHER_AMX_INLINE void multiply_group(const std::byte* tiles, const std::byte* inputs, int64_t steps,
                                          const Scales& scales, bool is_first, float* sums, Between&& between) {
  _tile_zero(0);
  _tile_zero(1);
  for (int64_t step = 0; step < steps; ++step) {
    const std::byte* weights = tiles + step * kStepBytes;
    _tile_loadd(6, inputs + step * packed_bytes(kWidth, kStep), kLine);
    _tile_loadd(4, weights, kLine);
    _tile_dpbf16ps(0, 6, 4);
    between(step, 0);
    _tile_loadd(5, weights + kTileBytes, kLine);
    _tile_dpbf16ps(1, 6, 5);
    between(step, 1);
  }
  add_tile<0, kWidth>(scales.v[0], is_first, sums);
  add_tile<1, kWidth>(scales.v[1], is_first, sums + kWidth * kTileRows);
}

// The same of two whole groups: half as many loads for each product. The groups' sums are `sums_stride` apart.
template <class Between>
BELLWETHER_AMX_INLINE void multiply_two_groups(const std::byte* tiles, const std::byte* inputs, int64_t group_bytes,
                                               int64_t steps, const Scales& scales, bool is_first, float* sums,
                                               int64_t sums_stride, Between&& between) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t step = 0; step < steps; ++step) {
    const std::byte* weights = tiles + step * kStepBytes;
    const std::byte* first = inputs + step * kTileBytes;
    _tile_loadd(4, weights, kLine);
    _tile_loadd(6, first, kLine);
    _tile_dpbf16ps(0, 6, 4);
    _tile_loadd(7, first + group_bytes, kLine);
    _tile_dpbf16ps(2, 7, 4);
    between(step, 0);
    _tile_loadd(5, weights + kTileBytes, kLine);
    _tile_dpbf16ps(1, 6, 5);
    _tile_dpbf16ps(3, 7, 5);
    between(step, 1);
  }
  constexpr int64_t kTileSums = kGroupRows * kTileRows;
  add_tile<0, kGroupRows>(scales.v[0], is_first, sums);
  add_tile<1, kGroupRows>(scales.v[1], is_first, sums + kTileSums);
  add_tile<2, kGroupRows>(scales.v[0], is_first, sums + sums_stride);
  add_tile<3, kGroupRows>(scales.v[1], is_first, sums + sums_stride + kTileSums);
}

// y (rows, outputs) = sums (kTiles, kWidth, kTileRows)
template <int64_t kWidth>
BELLWETHER_AMX_INLINE void store_sums(const float* sums, int64_t rows, int64_t outputs, float* y, int64_t y_stride) {
  for (int64_t t = 0; t * kTileRows < outputs; ++t, sums += kWidth * kTileRows) {
    const auto mask = static_cast<__mmask16>((1U << std::min(kTileRows, outputs - t * kTileRows)) - 1);
    for (int64_t r = 0; r < rows; ++r) {
      _mm512_mask_storeu_ps(y + r * y_stride + t * kTileRows, mask, _mm512_load_ps(sums + r * kTileRows));
    }
  }
}

// While one unit is multiplied, the next is unpacked. Rows: kGroupsMax groups at most, of kWidth. Few rows take the
// units in the order of memory; for many, sums of more outputs than one unit's would not stay in a first-level cache.
template <int64_t kWidth>
BELLWETHER_AMX void dot_units(const std::byte* packed, int64_t rows, const Matrix& w, int64_t row_begin,
                              int64_t row_end, float* y, int64_t y_stride) {
  alignas(64) std::array<std::byte, kStepsMax * kStepBytes> tiles[2];
  alignas(64) std::array<float, kGroupsMax * kSums> sums;
  static_assert(kFewGroups * kUnitsOfBlock <= kGroupsMax);
  const int64_t groups = (rows + kWidth - 1) / kWidth;
  const int64_t group_bytes = packed_bytes(kWidth, w.cols);
  Units units(w, row_begin, row_end, groups > kFewGroups);
  Units following = units;
  const Source first(w, *units);
  for (int64_t i = 0; i < first.steps * kTiles; ++i) unpack_tile(first, i / kTiles, i % kTiles, tiles[0].data());
  for (int current = 0; !units.at_end(); current = 1 - current, units.advance()) {
    const Unit unit = *units;
    following.advance();
    const Source next = following.at_end() ? Source() : Source(w, *following);
    const std::byte* now = tiles[current].data();
    std::byte* then = tiles[1 - current].data();
    const int64_t steps = unit.steps();
    const auto unpack_next = [&](int64_t step, int64_t tile) BELLWETHER_AMX {
      if (step < next.steps) unpack_tile(next, step, tile, then);
    };
    const auto nothing = [](int64_t, int64_t) {};
    const Scales scales = scales_of(w, unit);
    const std::byte* inputs = packed + packed_bytes(kWidth, unit.col);
    const bool is_first = unit.col == 0;
    float* unit_sums = sums.data() + units.waiting() * groups * kSums;
    int64_t group = 0;
    if (groups == 1) {
      multiply_group<kWidth>(now, inputs, steps, scales, is_first, unit_sums, unpack_next);
      group = 1;
    }
    for (; group < groups; group += 2) {
      const std::byte* group_inputs = inputs + group * group_bytes;
      float* group_sums = unit_sums + group * kSums;
      if (group == 0) {
        multiply_two_groups(now, group_inputs, group_bytes, steps, scales, is_first, group_sums, kSums, unpack_next);
      } else if (group + 1 < groups) {
        multiply_two_groups(now, group_inputs, group_bytes, steps, scales, is_first, group_sums, kSums, nothing);
      } else {
        multiply_group<kWidth>(now, group_inputs, steps, scales, is_first, group_sums, nothing);
      }
    }
    for (int64_t i = steps * kTiles; i < next.steps * kTiles; ++i) unpack_tile(next, i / kTiles, i % kTiles, then);
    if (unit.col_end < w.cols) continue;
    for (int64_t g = 0; g < groups; ++g) {
      store_sums<kWidth>(unit_sums + g * kSums, std::min(kWidth, rows - g * kWidth),
                         std::min(kUnitRows, row_end - unit.row), y + g * kWidth * y_stride + (unit.row - row_begin),
                         y_stride);
    }
  }
}

template <int64_t kWidth>
BELLWETHER_AMX void dot_all(const std::byte* packed, int64_t rows, const Matrix& w, int64_t row_begin, int64_t row_end,
                            float* y, int64_t y_stride) {
  const TileConfig config(kWidth);
  _tile_loadconfig(&config);
  constexpr int64_t kRowsMax = kGroupsMax * kWidth;
  for (int64_t r = 0; r < rows; r += kRowsMax) {
    dot_units<kWidth>(packed + packed_bytes(r, w.cols), std::min(kRowsMax, rows - r), w, row_begin, row_end,
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

// For each 32 columns a tile of inputs: (high and low, kWidth, 32).
template <int64_t kWidth>
BELLWETHER_AMX void pack(const float* x, int64_t x_stride, int64_t rows, int64_t cols, std::byte* out) {
  for (int64_t k = 0; k < cols; k += kStep, out += packed_bytes(kWidth, kStep)) {
    for (int64_t r = 0; r < kWidth; ++r) {
      __m512i high = _mm512_setzero_si512();
      __m512i low = high;
      const float* from = x + r * x_stride + k;
      if (r < rows) split(_mm512_loadu_ps(from), _mm512_loadu_ps(from + 16), &high, &low);
      _mm512_store_si512(out + r * kLine, high);
      _mm512_store_si512(out + (kWidth + r) * kLine, low);
    }
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
  return enabled() && w.format == Matrix::Format::kFP8 && w.cols > 0 && w.cols % kStep == 0 && w.scale_col % kStep == 0;
}

int64_t tiled_bytes(const Matrix& w) {
  return padded_rows(w) * w.cols;
}

int64_t tiled_units(const Matrix& w) {
  return padded_rows(w) / kUnitRows * ((w.cols + w.scale_col + kScaleBlock - 1) / kScaleBlock);
}

void tile_rows(const Matrix& w, int64_t row, std::byte* codes, uint64_t* rare_lines) {
  constexpr std::byte kNormal{0x08};  // of outputs that do not exist
  for (Unit unit{row, 0, column_end(w, 0)};; unit = {row, unit.col_end, column_end(w, unit.col_end)}) {
    std::byte* to = codes + place_of(w, unit);
    uint64_t rare = 0;
    for (int64_t line = 0; line < unit.steps() * kTiles * kTileLines; ++line, to += kLine) {
      const int64_t step = line / kTileLines / kTiles;
      const int64_t tile = line / kTileLines % kTiles;
      const int64_t col = unit.col + step * kStep + line % kTileLines * kLineCols;
      for (int64_t i = 0; i < kLine; ++i) {
        // 16 bits: a column for the tile's first row, and two columns on, for the second
        const int64_t output = row + tile * kTileRows + i / kLineCols;
        const int64_t column = col + i % 2 * 2 + i / 2 % 2;
        to[i] = output < w.rows ? w.data[output * w.stride + column] : kNormal;
        if ((to[i] & std::byte{0x78}) == std::byte{}) rare |= uint64_t{1} << line;
      }
    }
    rare_lines[word_of(w, unit)] = rare;
    if (unit.col_end == w.cols) return;
  }
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

int64_t tiled_bytes(const Matrix&) {
  return 0;
}

int64_t tiled_units(const Matrix&) {
  return 0;
}

void tile_rows(const Matrix&, int64_t, std::byte*, uint64_t*) {
  require(false, "no AMX here");
}

void pack_group(const float*, int64_t, int64_t, int64_t, int64_t, std::byte*) {
  require(false, "no AMX here");
}

void dot_packed(const std::byte*, int64_t, const Matrix&, int64_t, int64_t, float*, int64_t) {
  require(false, "no AMX here");
}

}  // namespace bellwether::engine::cpu::amx

#endif
