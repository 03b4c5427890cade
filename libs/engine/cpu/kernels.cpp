#include "engine/cpu/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "engine/invariant.h"

// clang-format off
#include "engine/cpu/simd_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace bellwether::engine::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kLanes = 16;  // partial sums of a dot product, on every CPU

using Floats = hn::CappedTag<float, kLanes>;
using Bits = hn::RebindToUnsigned<Floats>;
using SignedBits = hn::RebindToSigned<Floats>;
using Four = hn::FixedTag<float, 4>;
using V = hn::Vec<Floats>;
constexpr Floats kFloats;
constexpr int64_t kLength = hn::MaxLanes(Floats());  // floats in a vector
constexpr int64_t kVectors = kLanes / kLength;       // vectors that hold the partial sums

// Rows x outputs whose sums are kept in registers: 16 vectors of them, 32 with AVX-512. Where weights are unpacked for
// every tile, tiles of many rows are best; where they are unpacked already, square ones.
constexpr int64_t kRowsMax = kVectors == 1 ? 8 : 3;
constexpr int64_t kTileRows = kVectors == 1 ? 4 : 3;
constexpr int64_t kTileOutputs = kVectors == 1 ? 4 : 2;
template <int64_t kRows>
constexpr int64_t kOutputsOf = kRows == 1 || (kVectors == 1 && kRows <= 4) ? 4 : 2;
constexpr int64_t kTileLanes = kVectors == 1 ? 4 : 2;  // in kLanes columns, for sums over rows

// How the elements of each format become floats. `scale` is the block's factor as unpacked below.
struct FloatFormat {
  using Element = float;
  HWY_INLINE static V unpack(const float* from, V) { return hn::LoadU(kFloats, from); }
  static constexpr float kScale = 1;
};

struct Bf16Format {
  using Element = uint16_t;
  HWY_INLINE static V unpack(const uint16_t* from, V) {
    const hn::Rebind<uint16_t, Floats> narrow;
    return hn::BitCast(kFloats, hn::ShiftLeft<16>(hn::PromoteTo(Bits(), hn::LoadU(narrow, from))));
  }
  static constexpr float kScale = 1;
};

// The code's exponent and mantissa, moved to the places of a float's, mean the value times 2^-120: the exponents'
// biases are 7 and 127. Multiplying by scale * 2^120 makes it the weight, rounded once, subnormals included. The NaN
// codes would become 480 * scale; loading refuses them (model_weights.h).
struct Fp8Format {
  using Element = int8_t;
  HWY_INLINE static V unpack(const int8_t* from, V scale) {
    const hn::Rebind<int8_t, Floats> narrow;
    const auto widened = hn::ShiftLeft<20>(hn::PromoteTo(SignedBits(), hn::LoadU(narrow, from)));
    const auto bits = hn::And(widened, hn::Set(SignedBits(), static_cast<int32_t>(0x87F00000)));
    return hn::Mul(hn::BitCast(kFloats, bits), scale);
  }
  static constexpr float kScale = 0x1p120F;
};

[[noreturn]] HWY_NOINLINE void RefuseOrder() {
  require(false, "a matrix in the order of tiles is for amx.h");
  __builtin_unreachable();
}

template <class Format>
HWY_INLINE const typename Format::Element* RowOf(const Matrix& w, int64_t row) {
  // Elements need not be aligned; they are only read by loads that allow that.
  return reinterpret_cast<const typename Format::Element*>(w.data) + row * w.stride;
}

template <class Format>
HWY_INLINE V ScaleOf(const Matrix& w, int64_t row, int64_t col) {
  if (w.scales == nullptr) return hn::Set(kFloats, Format::kScale);
  return hn::Set(kFloats, w.scale_of(row, col) * Format::kScale);
}

template <int64_t kRows, int64_t kOutputs>
struct Sums {
  V v[kRows][kOutputs][kVectors];
};

// Weights come from memory, whatever is in float32 was written just before.
template <class Format>
constexpr bool kIsWeight = !std::is_same_v<Format, FloatFormat>;

// What memory is asked for next.
struct Ahead {
  static constexpr int64_t kLine = 64;
  HWY_INLINE void ask(int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += kLine) __builtin_prefetch(next + i, 0, 2);  // into the second-level cache
    next += bytes;
  }
  const char* next;
};

// Adds the products of columns [col_begin, col_end), in whole groups of 16, to the sums, and asks for as many weights.
template <class Format, int64_t kRows, int64_t kOutputs>
HWY_INLINE void AddProducts(const float* x, int64_t x_stride, const typename Format::Element* const* w, const V* scales,
                            int64_t col_begin, int64_t col_end, Sums<kRows, kOutputs>& sums, Ahead& ahead) {
  for (int64_t k = col_begin; k < col_end; k += kLanes) {
    if constexpr (kIsWeight<Format>) ahead.ask(kOutputs * kLanes * int64_t{sizeof(typename Format::Element)});
    for (int64_t i = 0; i < kVectors; ++i) {
      V weights[kOutputs];
      for (int64_t o = 0; o < kOutputs; ++o) weights[o] = Format::unpack(w[o] + k + i * kLength, scales[o]);
      for (int64_t r = 0; r < kRows; ++r) {
        const V input = hn::LoadU(kFloats, x + r * x_stride + k + i * kLength);
        for (int64_t o = 0; o < kOutputs; ++o) {
          sums.v[r][o][i] = hn::MulAdd(input, weights[o], sums.v[r][o][i]);
        }
      }
    }
  }
}

// The last columns, fewer than 16: the same sums, with zeros for the columns that do not exist.
template <class Format, int64_t kRows, int64_t kOutputs>
HWY_INLINE void AddLastProducts(const float* x, int64_t x_stride, const typename Format::Element* const* w,
                                const V* scales, int64_t col_begin, int64_t col_end, Sums<kRows, kOutputs>& sums) {
  using Element = typename Format::Element;
  float inputs[kRows * kLanes] = {};
  Element elements[kOutputs][kLanes] = {};
  const Element* rows[kOutputs];
  const auto count = static_cast<size_t>(col_end - col_begin);
  for (int64_t r = 0; r < kRows; ++r) {
    std::memcpy(inputs + r * kLanes, x + r * x_stride + col_begin, count * sizeof(float));
  }
  for (int64_t o = 0; o < kOutputs; ++o) {
    std::memcpy(elements[o], w[o] + col_begin, count * sizeof(Element));
    rows[o] = elements[o];
  }
  Ahead ahead{reinterpret_cast<const char*>(w[0] + col_end)};
  AddProducts<Format, kRows, kOutputs>(inputs, kLanes, rows, scales, 0, kLanes, sums, ahead);
}

// 16 partial sums to 4, in the order that kernels.h promises.
template <class D>
HWY_INLINE hn::Vec<Four> Halve(D, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return v;
  } else {
    const hn::Half<D> half;
    return Halve(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

HWY_INLINE hn::Vec<Four> ToFour(const V (&v)[kVectors]) {
  if constexpr (kVectors == 4) {
    return Halve(kFloats, hn::Add(hn::Add(v[0], v[2]), hn::Add(v[1], v[3])));
  } else if constexpr (kVectors == 2) {
    return Halve(kFloats, hn::Add(v[0], v[1]));
  } else {
    return Halve(kFloats, v[0]);
  }
}

// Four times 4 partial sums to four sums.
HWY_INLINE hn::Vec<Four> AddAcross(const hn::Vec<Four> (&v)[4]) {
  const Four d;
  const auto ab = hn::Add(hn::ConcatLowerLower(d, v[1], v[0]), hn::ConcatUpperUpper(d, v[1], v[0]));
  const auto cd = hn::Add(hn::ConcatLowerLower(d, v[3], v[2]), hn::ConcatUpperUpper(d, v[3], v[2]));
  return hn::Add(hn::ConcatEven(d, cd, ab), hn::ConcatOdd(d, cd, ab));
}

template <int64_t kRows, int64_t kOutputs>
HWY_INLINE void StoreSums(const Sums<kRows, kOutputs>& sums, float* y, int64_t y_stride) {
  constexpr int64_t kCount = kRows * kOutputs;
  float results[(kCount + 3) / 4 * 4];
  for (int64_t i = 0; i < kCount; i += 4) {
    hn::Vec<Four> four[4];
    for (int64_t j = 0; j < 4; ++j) {
      const int64_t n = std::min(i + j, kCount - 1);
      four[j] = ToFour(sums.v[n / kOutputs][n % kOutputs]);
    }
    hn::StoreU(AddAcross(four), Four(), results + i);
  }
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t o = 0; o < kOutputs; ++o) y[r * y_stride + o] = results[r * kOutputs + o];
  }
}

// One tile of dot_rows. While it multiplies it asks memory for the tile that follows, line after line and evenly: asked
// for at once, lines would wait for each other, and in any other order memory is slower.
template <class Format, int64_t kRows, int64_t kOutputs>
HWY_INLINE void DotTile(const float* x, int64_t x_stride, const Matrix& w, int64_t row, float* y, int64_t y_stride) {
  Sums<kRows, kOutputs> sums;
  const typename Format::Element* rows[kOutputs];
  for (int64_t o = 0; o < kOutputs; ++o) {
    rows[o] = RowOf<Format>(w, row + o);
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t i = 0; i < kVectors; ++i) sums.v[r][o][i] = hn::Zero(kFloats);
    }
  }
  const int64_t whole = w.cols / kLanes * kLanes;
  Ahead ahead{reinterpret_cast<const char*>(rows[0] + kOutputs * w.stride)};
  V scales[kOutputs];
  for (int64_t k = 0; k < w.cols;) {
    const int64_t end = kIsWeight<Format> ? std::min(w.next_scale(k), w.cols) : w.cols;
    for (int64_t o = 0; o < kOutputs; ++o) scales[o] = ScaleOf<Format>(w, row + o, k);
    AddProducts<Format>(x, x_stride, rows, scales, k, std::min(end, whole), sums, ahead);
    if (end > whole) AddLastProducts<Format>(x, x_stride, rows, scales, whole, w.cols, sums);
    k = end;
  }
  StoreSums(sums, y, y_stride);
}

template <class Format, int64_t kRows>
void DotStrip(const float* x, int64_t x_stride, const Matrix& w, int64_t row_begin, int64_t row_end, float* y,
              int64_t y_stride) {
  constexpr int64_t kOutputs = kOutputsOf<kRows>;
  int64_t o = row_begin;
  for (; o + kOutputs <= row_end; o += kOutputs) {
    DotTile<Format, kRows, kOutputs>(x, x_stride, w, o, y + (o - row_begin), y_stride);
  }
  for (; o < row_end; ++o) DotTile<Format, kRows, 1>(x, x_stride, w, o, y + (o - row_begin), y_stride);
}

// `rows`: kRows at most.
template <class Format, int64_t kRows>
void DotUpTo(const float* x, int64_t x_stride, int64_t rows, const Matrix& w, int64_t row_begin, int64_t row_end,
             float* y, int64_t y_stride) {
  if (rows == kRows) return DotStrip<Format, kRows>(x, x_stride, w, row_begin, row_end, y, y_stride);
  if constexpr (kRows > 1) {
    DotUpTo<Format, kRows - 1>(x, x_stride, rows, w, row_begin, row_end, y, y_stride);
  }
}

// Unpacks the matrix anew for every few rows of x.
template <class Format>
void DotDirect(const float* x, int64_t x_stride, int64_t rows, const Matrix& w, int64_t row_begin, int64_t row_end,
               float* y, int64_t y_stride) {
  constexpr int64_t kRows = kIsWeight<Format> ? kRowsMax : kTileRows;
  // As few passes as there must be, of rows as equal as can be.
  for (int64_t passes = (rows + kRows - 1) / kRows, r = 0; passes > 0; --passes) {
    const int64_t count = (rows - r + passes - 1) / passes;
    DotUpTo<Format, kRows>(x + r * x_stride, x_stride, count, w, row_begin, row_end, y + r * y_stride, y_stride);
    r += count;
  }
}

// Rows of a matrix that are unpacked together, unless they are longer than kPanelColumns. 128 KiB for 2048 columns
// leave room for x in a second-level cache.
constexpr int64_t kPanelOutputs = 16;
constexpr int64_t kPanelColumns = 8 * 1024;
// What is multiplied at once is smaller, so that a first-level cache holds it.
constexpr int64_t kBlockColumns = 256;
constexpr int64_t kBlockRows = 48;

template <class Format>
void UnpackRow(const Matrix& w, int64_t row, int64_t col_begin, int64_t col_end, float* out) {
  const auto* elements = RowOf<Format>(w, row);
  for (int64_t block = col_begin, end = 0; block < col_end; block = end) {
    const V scale = ScaleOf<Format>(w, row, block);
    end = std::min(w.next_scale(block), col_end);
    int64_t k = block;
    for (; k + kLength <= end; k += kLength) {
      hn::StoreU(Format::unpack(elements + k, scale), kFloats, out + (k - col_begin));
    }
    if (k < end) {
      typename Format::Element last[kLength] = {};
      std::memcpy(last, elements + k, static_cast<size_t>(end - k) * sizeof last[0]);
      float unpacked[kLength];
      hn::StoreU(Format::unpack(last, scale), kFloats, unpacked);
      std::memcpy(out + (k - col_begin), unpacked, static_cast<size_t>(end - k) * sizeof(float));
    }
  }
}

// Columns [col, col_end) of some rows of the matrix, side by side: rows far apart would share too few places of a
// cache.
struct PanelBlock {
  const float* weights;  // (outputs, kBlockColumns)
  int64_t cols;          // of the matrix
  int64_t col;
  int64_t col_end;
};

// A block times a tile of rows of x: the partial sums wait in `partial`, (rows, kPanelOutputs, kLanes), for the columns
// to come.
template <int64_t kRows, int64_t kOutputs>
HWY_INLINE void PanelTile(const float* x, int64_t x_stride, const PanelBlock& block, int64_t output, float* partial,
                          float* y, int64_t y_stride) {
  Sums<kRows, kOutputs> sums;
  const float* rows[kOutputs];
  V scales[kOutputs];
  for (int64_t o = 0; o < kOutputs; ++o) {
    rows[o] = block.weights + (output + o) * kBlockColumns - block.col;
    scales[o] = hn::Set(kFloats, FloatFormat::kScale);
  }
  float* kept = partial + output * kLanes;
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t o = 0; o < kOutputs; ++o) {
      for (int64_t i = 0; i < kVectors; ++i) {
        sums.v[r][o][i] = block.col == 0 ? hn::Zero(kFloats)
                                         : hn::Load(kFloats, kept + (r * kPanelOutputs + o) * kLanes + i * kLength);
      }
    }
  }
  const int64_t whole = std::min(block.col_end, block.cols / kLanes * kLanes);
  Ahead nothing{};
  AddProducts<FloatFormat>(x, x_stride, rows, scales, block.col, whole, sums, nothing);
  if (block.col_end > whole) AddLastProducts<FloatFormat>(x, x_stride, rows, scales, whole, block.col_end, sums);
  if (block.col_end == block.cols) return StoreSums(sums, y + output, y_stride);
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t o = 0; o < kOutputs; ++o) {
      for (int64_t i = 0; i < kVectors; ++i) {
        hn::Store(sums.v[r][o][i], kFloats, kept + (r * kPanelOutputs + o) * kLanes + i * kLength);
      }
    }
  }
}

template <int64_t kRows>
void PanelStrip(const float* x, int64_t x_stride, const PanelBlock& block, int64_t outputs, float* partial, float* y,
                int64_t y_stride) {
  int64_t o = 0;
  for (; o + kTileOutputs <= outputs; o += kTileOutputs) {
    PanelTile<kRows, kTileOutputs>(x, x_stride, block, o, partial, y, y_stride);
  }
  for (; o < outputs; ++o) PanelTile<kRows, 1>(x, x_stride, block, o, partial, y, y_stride);
}

// `panel`: blocks of columns of `outputs` rows, one after the other.
void DotPanel(const float* x, int64_t x_stride, int64_t rows, const float* panel, int64_t outputs, int64_t cols,
              float* y, int64_t y_stride) {
  HWY_ALIGN float partial[kBlockRows * kPanelOutputs * kLanes];
  for (int64_t row = 0; row < rows; row += kBlockRows) {
    const int64_t row_end = std::min(row + kBlockRows, rows);
    for (int64_t col = 0; col < cols; col += kBlockColumns) {
      const PanelBlock block{panel + col * kPanelOutputs, cols, col, std::min(col + kBlockColumns, cols)};
      int64_t r = row;
      for (; r + kTileRows <= row_end; r += kTileRows) {
        PanelStrip<kTileRows>(x + r * x_stride, x_stride, block, outputs, partial + (r - row) * kPanelOutputs * kLanes,
                              y + r * y_stride, y_stride);
      }
      for (; r < row_end; ++r) {
        PanelStrip<1>(x + r * x_stride, x_stride, block, outputs, partial + (r - row) * kPanelOutputs * kLanes,
                      y + r * y_stride, y_stride);
      }
    }
  }
}

// Unpacks a few rows of the matrix once for all rows of x.
template <class Format>
void DotUnpacked(const float* x, int64_t x_stride, int64_t rows, const Matrix& w, int64_t row_begin, int64_t row_end,
                 float* y, int64_t y_stride) {
  if (rows <= 2 * kRowsMax || w.cols == 0 || w.cols > kPanelColumns) {
    DotDirect<Format>(x, x_stride, rows, w, row_begin, row_end, y, y_stride);
    return;
  }
  HWY_ALIGN float panel[kPanelColumns * kPanelOutputs];
  for (int64_t o = row_begin; o < row_end; o += kPanelOutputs) {
    const int64_t count = std::min(kPanelOutputs, row_end - o);
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t k = 0; k < w.cols; k += kBlockColumns) {
        UnpackRow<Format>(w, o + i, k, std::min(k + kBlockColumns, w.cols),
                          panel + k * kPanelOutputs + i * kBlockColumns);
      }
    }
    DotPanel(x, x_stride, rows, panel, count, w.cols, y + (o - row_begin), y_stride);
  }
}

void DotRows(const float* x, int64_t x_stride, int64_t rows, const Matrix& w, int64_t row_begin, int64_t row_end,
             float* y, int64_t y_stride) {
  switch (w.format) {
    case Matrix::Format::kF32:
      return DotDirect<FloatFormat>(x, x_stride, rows, w, row_begin, row_end, y, y_stride);
    case Matrix::Format::kBF16:
      return DotUnpacked<Bf16Format>(x, x_stride, rows, w, row_begin, row_end, y, y_stride);
    case Matrix::Format::kFP8:
      return DotUnpacked<Fp8Format>(x, x_stride, rows, w, row_begin, row_end, y, y_stride);
    case Matrix::Format::kTiledFP8:
      break;
  }
  RefuseOrder();
}

// y (kRows, 16 * kGroups) += x (kRows, depth) * w (depth, 16 * kGroups)
template <int64_t kRows, int64_t kGroups>
HWY_INLINE void WeightedTile(const float* x, int64_t x_stride, const float* w, int64_t w_stride, int64_t depth,
                             float* y, int64_t y_stride) {
  constexpr int64_t kWide = kGroups * kVectors;
  V sums[kRows][kWide];
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t i = 0; i < kWide; ++i) sums[r][i] = hn::LoadU(kFloats, y + r * y_stride + i * kLength);
  }
  for (int64_t o = 0; o < depth; ++o) {
    V weights[kWide];
    for (int64_t i = 0; i < kWide; ++i) weights[i] = hn::LoadU(kFloats, w + o * w_stride + i * kLength);
    for (int64_t r = 0; r < kRows; ++r) {
      const V factor = hn::Set(kFloats, x[r * x_stride + o]);
      for (int64_t i = 0; i < kWide; ++i) sums[r][i] = hn::MulAdd(factor, weights[i], sums[r][i]);
    }
  }
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t i = 0; i < kWide; ++i) hn::StoreU(sums[r][i], kFloats, y + r * y_stride + i * kLength);
  }
}

template <int64_t kRows, int64_t kGroups>
void WeightedStrip(const float* x, int64_t x_stride, const float* w, int64_t w_stride, int64_t depth, int64_t cols,
                   float* y, int64_t y_stride) {
  int64_t k = 0;
  for (; k + kGroups * kLanes <= cols; k += kGroups * kLanes) {
    WeightedTile<kRows, kGroups>(x, x_stride, w + k, w_stride, depth, y + k, y_stride);
  }
  for (; k + kLanes <= cols; k += kLanes) {
    WeightedTile<kRows, 1>(x, x_stride, w + k, w_stride, depth, y + k, y_stride);
  }
}

// For all columns in whole groups of 16.
void WeightedFloats(const float* x, int64_t x_stride, int64_t rows, const float* w, int64_t w_stride, int64_t depth,
                    int64_t cols, float* y, int64_t y_stride) {
  int64_t r = 0;
  for (; r + kTileRows <= rows; r += kTileRows) {
    WeightedStrip<kTileRows, kTileLanes>(x + r * x_stride, x_stride, w, w_stride, depth, cols, y + r * y_stride,
                                         y_stride);
  }
  for (; r < rows; ++r) {
    WeightedStrip<1, 4>(x + r * x_stride, x_stride, w, w_stride, depth, cols, y + r * y_stride, y_stride);
  }
}

// One row of x: y (16 * kGroups) += x (depth) * columns [col, col + 16 * kGroups) of rows [row, row + depth) of w,
// which share a scale.
template <class Format, int64_t kGroups>
HWY_INLINE void WeightedRowTile(const float* x, const Matrix& w, int64_t row, int64_t depth, int64_t col, float* y) {
  constexpr int64_t kWide = kGroups * kVectors;
  const V scale = ScaleOf<Format>(w, row, col);
  const auto* weights = RowOf<Format>(w, row) + col;
  V sums[kWide];
  for (int64_t i = 0; i < kWide; ++i) sums[i] = hn::LoadU(kFloats, y + i * kLength);
  for (int64_t o = 0; o < depth; ++o, weights += w.stride) {
    const V factor = hn::Set(kFloats, x[o]);
    for (int64_t i = 0; i < kWide; ++i) {
      sums[i] = hn::MulAdd(factor, Format::unpack(weights + i * kLength, scale), sums[i]);
    }
  }
  for (int64_t i = 0; i < kWide; ++i) hn::StoreU(sums[i], kFloats, y + i * kLength);
}

// One row of x with FP8 weights, columns in whole scale blocks.
void WeightedRow(const float* x, const Matrix& w, int64_t row_begin, int64_t row_end, int64_t col_begin,
                 int64_t col_end, float* y) {
  constexpr int64_t kGroups = kVectors == 1 ? 8 : 4;
  static_assert(kScaleBlock % (kGroups * kLanes) == 0);
  for (int64_t row = row_begin, next = 0; row < row_end; row = next) {
    next = std::min(row_end, (row + w.scale_row) / kScaleBlock * kScaleBlock + kScaleBlock - w.scale_row);
    for (int64_t k = col_begin; k < col_end; k += kGroups * kLanes) {
      WeightedRowTile<Fp8Format, kGroups>(x + (row - row_begin), w, row, next - row, k, y + (k - col_begin));
    }
  }
}

template <class Format>
void WeightedUnpacked(const float* x, int64_t x_stride, int64_t rows, const Matrix& w, int64_t row_begin,
                      int64_t row_end, int64_t col_begin, int64_t col_end, float* y, int64_t y_stride) {
  constexpr int64_t kPanelRows = 64;
  HWY_ALIGN float panel[kPanelRows * kScaleBlock];
  HWY_ALIGN float part[kScaleBlock];
  for (int64_t k = col_begin; k < col_end; k += kScaleBlock) {
    const int64_t cols = std::min(kScaleBlock, col_end - k);
    const int64_t whole = cols / kLanes * kLanes;
    for (int64_t o = row_begin; o < row_end; o += kPanelRows) {
      const int64_t depth = std::min(kPanelRows, row_end - o);
      for (int64_t i = 0; i < depth; ++i) {
        float* row = panel + i * kScaleBlock;
        UnpackRow<Format>(w, o + i, k, k + cols, row);
        std::fill(row + cols, row + (cols + kLanes - 1) / kLanes * kLanes, 0.0F);
      }
      const float* factors = x + (o - row_begin);
      float* out = y + (k - col_begin);
      WeightedFloats(factors, x_stride, rows, panel, kScaleBlock, depth, whole, out, y_stride);
      for (int64_t r = 0; whole < cols && r < rows; ++r) {  // the last columns, fewer than 16, go through a copy
        const auto bytes = static_cast<size_t>(cols - whole) * sizeof(float);
        std::memcpy(part, out + r * y_stride + whole, bytes);
        std::fill(part + (cols - whole), part + kLanes, 0.0F);
        WeightedFloats(factors + r * x_stride, x_stride, 1, panel + whole, kScaleBlock, depth, kLanes, part, kLanes);
        std::memcpy(out + r * y_stride + whole, part, bytes);
      }
    }
  }
}

void AddWeightedRows(const float* x, int64_t x_stride, int64_t rows, const Matrix& w, int64_t row_begin,
                     int64_t row_end, int64_t col_begin, int64_t col_end, float* y, int64_t y_stride) {
  const int64_t depth = row_end - row_begin;
  switch (w.format) {
    case Matrix::Format::kF32:
      if ((col_end - col_begin) % kLanes == 0) {
        const float* weights = RowOf<FloatFormat>(w, row_begin) + col_begin;
        return WeightedFloats(x, x_stride, rows, weights, w.stride, depth, col_end - col_begin, y, y_stride);
      }
      return WeightedUnpacked<FloatFormat>(x, x_stride, rows, w, row_begin, row_end, col_begin, col_end, y, y_stride);
    case Matrix::Format::kBF16:
      return WeightedUnpacked<Bf16Format>(x, x_stride, rows, w, row_begin, row_end, col_begin, col_end, y, y_stride);
    case Matrix::Format::kFP8:
      if (rows == 1 && (col_end - col_begin) % kScaleBlock == 0 && w.scale_col == 0) {
        return WeightedRow(x, w, row_begin, row_end, col_begin, col_end, y);
      }
      return WeightedUnpacked<Fp8Format>(x, x_stride, rows, w, row_begin, row_end, col_begin, col_end, y, y_stride);
    case Matrix::Format::kTiledFP8:
      break;
  }
  RefuseOrder();
}

void CopyRow(const Matrix& w, int64_t row, float* out) {
  switch (w.format) {
    case Matrix::Format::kF32:
      return UnpackRow<FloatFormat>(w, row, 0, w.cols, out);
    case Matrix::Format::kBF16:
      return UnpackRow<Bf16Format>(w, row, 0, w.cols, out);
    case Matrix::Format::kFP8:
      return UnpackRow<Fp8Format>(w, row, 0, w.cols, out);
    case Matrix::Format::kTiledFP8:
      break;
  }
  RefuseOrder();
}

// Calls body(i, load, store) for whole vectors and once more for what is left, through copies.
template <class Body>
HWY_INLINE void ForEachVector(int64_t size, Body body) {
  int64_t i = 0;
  for (; i + kLength <= size; i += kLength) body(i, kLength);
  if (i < size) body(i, size - i);
}

HWY_INLINE V LoadFirst(const float* from, int64_t count) {
  if (count == kLength) return hn::LoadU(kFloats, from);
  float padded[kLength] = {};
  std::memcpy(padded, from, static_cast<size_t>(count) * sizeof(float));
  return hn::LoadU(kFloats, padded);
}

HWY_INLINE void StoreFirst(V v, float* to, int64_t count) {
  if (count == kLength) return hn::StoreU(v, kFloats, to);
  float padded[kLength];
  hn::StoreU(v, kFloats, padded);
  std::memcpy(to, padded, static_cast<size_t>(count) * sizeof(float));
}

void RmsNorm(const float* x, const float* weight, int64_t size, float epsilon, float* y) {
  float squares = 0;
  DotDirect<FloatFormat>(x, size, 1, float_matrix(x, 1, size, size), 0, 1, &squares, 1);
  const float mean = squares / static_cast<float>(size);
  const V factor = hn::Set(kFloats, 1 / std::sqrt(mean + epsilon));
  ForEachVector(size, [&](int64_t i, int64_t count) HWY_ATTR {
    const V scaled = hn::Mul(LoadFirst(x + i, count), factor);
    StoreFirst(hn::Mul(scaled, LoadFirst(weight + i, count)), y + i, count);
  });
}

void SiluMultiply(const float* gate, const float* up, int64_t size, float* y) {
  const V one = hn::Set(kFloats, 1.0F);
  const V largest = hn::Set(kFloats, 88.0F);  // e^88 is finite; Exp is good to 104
  ForEachVector(size, [&](int64_t i, int64_t count) HWY_ATTR {
    const V z = LoadFirst(gate + i, count);
    const V silu = hn::Div(z, hn::Add(one, hn::Exp(kFloats, hn::Min(hn::Neg(z), largest))));
    StoreFirst(hn::Mul(silu, LoadFirst(up + i, count)), y + i, count);
  });
}

void AddScaled(const float* x, float factor, int64_t size, float* y) {
  const V factors = hn::Set(kFloats, factor);
  ForEachVector(size, [&](int64_t i, int64_t count) HWY_ATTR {
    StoreFirst(hn::MulAdd(factors, LoadFirst(x + i, count), LoadFirst(y + i, count)), y + i, count);
  });
}

void Scale(float factor, int64_t size, float* y) {
  const V factors = hn::Set(kFloats, factor);
  ForEachVector(size, [&](int64_t i, int64_t count)
                          HWY_ATTR { StoreFirst(hn::Mul(factors, LoadFirst(y + i, count)), y + i, count); });
}

HWY_INLINE float FirstLane(V v) {
  return hn::GetLane(v);
}

float AddSoftmaxBlock(float* scores, int64_t valid, float scale, RunningSoftmax& softmax) {
  const V scales = hn::Set(kFloats, scale);
  const V nothing = hn::Set(kFloats, -__builtin_huge_valf());
  std::fill(scores + valid, scores + kBlockTokens, -__builtin_huge_valf());
  V largest = nothing;
  for (int64_t i = 0; i < kBlockTokens; i += kLength) {
    const V scaled = hn::Mul(scales, hn::LoadU(kFloats, scores + i));
    hn::StoreU(scaled, kFloats, scores + i);
    largest = hn::Max(largest, scaled);
  }
  const float old_max = softmax.max;
  softmax.max = std::max(old_max, FirstLane(hn::MaxOfLanes(kFloats, largest)));
  const V new_max = hn::Set(kFloats, softmax.max);
  V sums[1][1][kVectors];
  for (V& sum : sums[0][0]) sum = hn::Zero(kFloats);
  for (int64_t i = 0; i < kBlockTokens; i += kLength) {
    const V weight = hn::Exp(kFloats, hn::Sub(hn::LoadU(kFloats, scores + i), new_max));
    hn::StoreU(weight, kFloats, scores + i);
    V& sum = sums[0][0][i / kLength % kVectors];
    sum = hn::Add(sum, weight);
  }
  float block_sum = 0;
  Sums<1, 1> all;
  for (int64_t i = 0; i < kVectors; ++i) all.v[0][0][i] = sums[0][0][i];
  StoreSums(all, &block_sum, 1);
  const float factor = FirstLane(hn::Exp(kFloats, hn::Sub(hn::Set(kFloats, old_max), new_max)));
  const float kept = softmax.sum * factor;
  softmax.sum = kept + block_sum;
  return factor;
}

}  // namespace HWY_NAMESPACE
}  // namespace bellwether::engine::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bellwether::engine::cpu {

HWY_EXPORT(DotRows);
HWY_EXPORT(AddWeightedRows);
HWY_EXPORT(CopyRow);
HWY_EXPORT(RmsNorm);
HWY_EXPORT(SiluMultiply);
HWY_EXPORT(AddScaled);
HWY_EXPORT(Scale);
HWY_EXPORT(AddSoftmaxBlock);

void dot_rows(const float* x, int64_t x_stride, int64_t rows, const Matrix& w, int64_t row_begin, int64_t row_end,
              float* y, int64_t y_stride) {
  HWY_DYNAMIC_DISPATCH(DotRows)(x, x_stride, rows, w, row_begin, row_end, y, y_stride);
}

void add_weighted_rows(const float* x, int64_t x_stride, int64_t rows, const Matrix& w, int64_t row_begin,
                       int64_t row_end, int64_t col_begin, int64_t col_end, float* y, int64_t y_stride) {
  HWY_DYNAMIC_DISPATCH(AddWeightedRows)(x, x_stride, rows, w, row_begin, row_end, col_begin, col_end, y, y_stride);
}

void copy_row(const Matrix& w, int64_t row, float* out) {
  HWY_DYNAMIC_DISPATCH(CopyRow)(w, row, out);
}

void rms_norm(const float* x, const float* weight, int64_t size, float epsilon, float* y) {
  HWY_DYNAMIC_DISPATCH(RmsNorm)(x, weight, size, epsilon, y);
}

void silu_multiply(const float* gate, const float* up, int64_t size, float* y) {
  HWY_DYNAMIC_DISPATCH(SiluMultiply)(gate, up, size, y);
}

void add(const float* x, int64_t size, float* y) {
  HWY_DYNAMIC_DISPATCH(AddScaled)(x, 1.0F, size, y);
}

void add_scaled(const float* x, float factor, int64_t size, float* y) {
  HWY_DYNAMIC_DISPATCH(AddScaled)(x, factor, size, y);
}

void scale(float factor, int64_t size, float* y) {
  HWY_DYNAMIC_DISPATCH(Scale)(factor, size, y);
}

float RunningSoftmax::add_block(float* scores, int64_t valid, float scale) {
  return HWY_DYNAMIC_DISPATCH(AddSoftmaxBlock)(scores, valid, scale, *this);
}

}  // namespace bellwether::engine::cpu
#endif  // HWY_ONCE
