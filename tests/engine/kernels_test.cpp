// Every kernel, compiled for every instruction set that this CPU has, against plain loops that follow the order of sums
// that kernels.h promises: bit for bit where the CPU fuses multiply and add, within rounding elsewhere.
#include "engine/cpu/kernels.h"

#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

// clang-format off
#include "engine/cpu/simd_targets.h"
#include <hwy/targets.h>
// clang-format on
#include <gtest/gtest.h>

#include "engine/cpu/amx.h"
#include "engine/cpu/scratch.h"
#include "weights/float_formats.h"

namespace bellwether::engine::cpu {
namespace {

constexpr int64_t kFusingTargets = HWY_AVX2 | HWY_AVX3 | HWY_NEON;

float dot_in_order(const float* x, const float* w, int64_t count) {
  std::array<float, 16> sums{};
  for (int64_t k = 0; k < count; ++k) sums[k % 16] = std::fma(x[k], w[k], sums[k % 16]);
  for (size_t half = 8; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

class Kernels : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override {
    hwy::SetSupportedTargetsForTest(GetParam());
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  void TearDown() override {
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }

  void expect_same(float actual, float expected, double magnitude) const {
    if ((GetParam() & kFusingTargets) != 0) {
      EXPECT_EQ(actual, expected);
    } else {
      EXPECT_NEAR(actual, expected, 1e-5 * magnitude);
    }
  }

  // The product of `count` columns of x and weights.
  void expect_dot(float actual, const float* x, const float* weights, int64_t count) const {
    double magnitude = 0;
    for (int64_t k = 0; k < count; ++k) magnitude += std::fabs(static_cast<double>(x[k]) * weights[k]);
    expect_same(actual, dot_in_order(x, weights, count), magnitude);
  }

  std::vector<float> floats(int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = std::normal_distribution<float>()(random_);
    return values;
  }

  std::mt19937 random_{7};
};

// A matrix in one of the formats, aligned to its elements and no more, and its values.
struct TestMatrix {
  TestMatrix(Matrix::Format format, int64_t rows, int64_t cols, std::mt19937& random) {
    matrix = {.format = format, .rows = rows, .cols = cols, .stride = cols};
    const int64_t blocks = (cols + kScaleBlock - 1) / kScaleBlock;
    if (format == Matrix::Format::kFP8) {
      for (int64_t i = 0; i < (rows + kScaleBlock - 1) / kScaleBlock * blocks; ++i) {
        scales.push_back(
            std::ldexp(1 + static_cast<float>(random() % 1000) / 1000, static_cast<int>(random() % 8) - 9));
      }
      matrix.scales = scales.data();
      matrix.scale_stride = blocks;
    }
    const auto offset = static_cast<size_t>(Matrix::bytes_of(format));
    bytes.resize(offset);
    for (int64_t i = 0; i < rows * cols; ++i) {
      const float noise = std::normal_distribution<float>()(random);
      if (format == Matrix::Format::kF32) {
        append(noise);
        values.push_back(noise);
      } else if (format == Matrix::Format::kBF16) {
        append(weights::bf16_of(noise));
        values.push_back(weights::float_of_bf16(weights::bf16_of(noise)));
      } else {
        auto code = static_cast<uint8_t>(random());
        if ((code & 0x7F) == 0x7F) code = 0;
        append(code);
        const float scale = scales[i / cols / kScaleBlock * blocks + i % cols / kScaleBlock];
        values.push_back(weights::float_of_e4m3(code) * scale);
      }
    }
    matrix.data = bytes.data() + offset;
  }

  template <class T>
  void append(T value) {
    const auto* from = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), from, from + sizeof value);
  }

  Matrix matrix;
  std::vector<float> values;  // (rows, cols)
  std::vector<float> scales;
  std::vector<std::byte> bytes;
};

const std::vector<Matrix::Format> kFormats = {Matrix::Format::kF32, Matrix::Format::kBF16, Matrix::Format::kFP8};

TEST_P(Kernels, DotRows) {
  for (const auto format : kFormats) {
    for (const int64_t cols : {1, 15, 16, 17, 40, 127, 128, 129, 300, 513}) {
      const TestMatrix w(format, 134, cols, random_);
      for (const int64_t rows : {1, 2, 3, 4, 5, 7, 24}) {
        const int64_t x_stride = cols + 3;
        const auto x = floats(rows * x_stride);
        for (const auto [begin, end] : {std::pair<int64_t, int64_t>{0, 134}, {3, 4}, {126, 133}, {5, 5}}) {
          const int64_t y_stride = end - begin + 2;
          std::vector<float> y(static_cast<size_t>(rows * y_stride), -7);
          dot_rows(x.data(), x_stride, rows, w.matrix, begin, end, y.data(), y_stride);
          for (int64_t r = 0; r < rows; ++r) {
            for (int64_t o = begin; o < end; ++o) {
              expect_dot(y[r * y_stride + o - begin], x.data() + r * x_stride, w.values.data() + o * cols, cols);
            }
            EXPECT_EQ(y[r * y_stride + end - begin], -7);  // nothing beyond its rows
          }
          if (HasFailure()) FAIL() << "format " << static_cast<int>(format) << " cols " << cols << " rows " << rows;
        }
      }
    }
  }
}

TEST_P(Kernels, DotRowsOfAPart) {
  constexpr int64_t kCols = 900;
  for (const auto format : kFormats) {
    const TestMatrix w(format, 300, kCols, random_);
    for (const auto [col, cols] :
         {std::pair<int64_t, int64_t>{0, 64}, {64, 64}, {112, 32}, {240, 160}, {128, 0}, {192, 640}, {64, 520}}) {
      for (const int64_t row : {0, 40, 128, 250}) {
        const Matrix part = w.matrix.part(16, 284, 0, kCols).part(row, 20, col, cols);
        for (const int64_t rows : {1, 5, 9}) {
          const auto x = floats(rows * kCols);
          std::vector<float> y(static_cast<size_t>(rows) * 20, -7);
          dot_rows(x.data(), kCols, rows, part, 0, 20, y.data(), 20);
          for (int64_t i = 0; i < rows * 20; ++i) {
            const float* weights = w.values.data() + (16 + row + i % 20) * kCols + col;
            expect_dot(y[i], x.data() + i / 20 * kCols, weights, cols);
          }
        }
        if (HasFailure()) FAIL() << "format " << static_cast<int>(format) << " row " << row << " col " << col;
      }
    }
  }
}

TEST_P(Kernels, DotRowsOfWideMatrices) {
  // Too wide to be unpacked whole, or only a few rows at a time.
  for (const int64_t cols : {7168, 20000}) {
    const TestMatrix w(Matrix::Format::kFP8, 9, cols, random_);
    const auto x = floats(5 * cols);
    std::vector<float> y(5 * 9);
    dot_rows(x.data(), cols, 5, w.matrix, 0, 9, y.data(), 9);
    for (int64_t i = 0; i < 45; ++i) {
      expect_dot(y[i], x.data() + i / 9 * cols, w.values.data() + i % 9 * cols, cols);
    }
  }
}

TEST_P(Kernels, DotRowsDoNotDependOnTheirNeighbours) {
  constexpr int64_t kRows = 150;
  constexpr int64_t kOutputs = 134;
  constexpr int64_t kCols = 600;
  for (const auto format : kFormats) {
    const TestMatrix w(format, kOutputs, kCols, random_);
    const auto x = floats(kRows * kCols);
    std::vector<float> together(kRows * kOutputs);
    dot_rows(x.data(), kCols, kRows, w.matrix, 0, kOutputs, together.data(), kOutputs);
    for (const int64_t rows : {1, 2, 5, 16, 17, 40, 129}) {
      for (const auto [begin, end] : {std::pair<int64_t, int64_t>{0, 134}, {8, 9}, {24, 72}, {120, 134}}) {
        for (const int64_t first : {int64_t{0}, kRows - rows}) {
          std::vector<float> y(static_cast<size_t>(rows * (end - begin)));
          dot_rows(x.data() + first * kCols, kCols, rows, w.matrix, begin, end, y.data(), end - begin);
          for (int64_t r = 0; r < rows; ++r) {
            ASSERT_EQ(std::memcmp(y.data() + r * (end - begin), together.data() + (first + r) * kOutputs + begin,
                                  static_cast<size_t>(end - begin) * sizeof(float)),
                      0)
                << "format " << static_cast<int>(format) << " row " << r << " of " << rows;
          }
        }
      }
    }
  }
}

TEST_P(Kernels, AddWeightedRows) {
  for (const auto format : kFormats) {
    for (const int64_t cols : {1, 16, 20, 64, 128, 130, 300}) {
      const TestMatrix w(format, 150, cols, random_);
      for (const int64_t rows : {1, 3, 4, 5}) {
        for (const auto [begin, end] : {std::pair<int64_t, int64_t>{0, 150}, {2, 3}, {100, 149}}) {
          for (const int64_t col_begin : {int64_t{0}, kScaleBlock}) {
            if (col_begin >= cols) continue;
            const int64_t x_stride = end - begin + 1;
            const int64_t y_stride = cols - col_begin + 2;
            const auto x = floats(rows * x_stride);
            const auto before = floats(rows * y_stride);
            auto y = before;
            add_weighted_rows(x.data(), x_stride, rows, w.matrix, begin, end, col_begin, cols, y.data(), y_stride);
            for (int64_t r = 0; r < rows; ++r) {
              for (int64_t k = col_begin; k < cols; ++k) {
                float expected = before[r * y_stride + k - col_begin];
                for (int64_t o = begin; o < end; ++o) {
                  expected = std::fma(x[r * x_stride + o - begin], w.values[o * cols + k], expected);
                }
                expect_same(y[r * y_stride + k - col_begin], expected, 4 * std::sqrt(150) * 2);
              }
              EXPECT_EQ(y[r * y_stride + cols - col_begin], before[r * y_stride + cols - col_begin]);
            }
            if (HasFailure()) FAIL() << "format " << static_cast<int>(format) << " cols " << cols << " rows " << rows;
          }
        }
      }
    }
  }
}

TEST_P(Kernels, EveryFp8CodeHasItsValue) {
  std::vector<std::byte> codes;
  for (int code = 0; code < 256; ++code) codes.push_back(static_cast<std::byte>(code));
  const std::vector<float> scales = {1.0F, 0x1.234p-9F};
  const Matrix matrix{.format = Matrix::Format::kFP8,
                      .data = codes.data(),
                      .rows = 1,
                      .cols = 256,
                      .stride = 256,
                      .scales = scales.data()};
  std::vector<float> values(256);
  copy_row(matrix, 0, values.data());
  for (int code = 0; code < 256; ++code) {
    if ((code & 0x7F) == 0x7F) continue;  // refused when weights are loaded
    EXPECT_EQ(values[code], weights::float_of_e4m3(static_cast<uint8_t>(code)) * scales[code / 128]) << code;
  }
}

TEST_P(Kernels, CopyRow) {
  for (const auto format : kFormats) {
    for (const int64_t cols : {1, 19, 128, 135}) {
      const TestMatrix w(format, 3, cols, random_);
      std::vector<float> row(static_cast<size_t>(cols) + 1, -7);
      copy_row(w.matrix, 2, row.data());
      EXPECT_EQ(std::vector<float>(row.begin(), row.end() - 1),
                std::vector<float>(w.values.end() - cols, w.values.end()));
      EXPECT_EQ(row.back(), -7);
    }
  }
}

TEST_P(Kernels, RmsNorm) {
  for (const int64_t size : {1, 15, 40, 256}) {
    const auto x = floats(size);
    const auto weight = floats(size);
    double squares = 0;
    for (const float value : x) squares += static_cast<double>(value) * value;
    const double factor = 1 / std::sqrt(squares / static_cast<double>(size) + 1e-6);
    auto y = x;
    rms_norm(y.data(), weight.data(), size, 1e-6F, y.data());
    for (int64_t i = 0; i < size; ++i) EXPECT_NEAR(y[i], x[i] * factor * weight[i], 2e-6);
  }
}

TEST_P(Kernels, SiluMultiply) {
  const std::vector<float> gate = {0, 1, -1, 20, -20, 88, -88, 200, -200, 1e30F, -1e30F, 0.5F, -3};
  const auto up = floats(std::ssize(gate));
  std::vector<float> y(gate.size());
  silu_multiply(gate.data(), up.data(), std::ssize(gate), y.data());
  for (size_t i = 0; i < gate.size(); ++i) {
    const double silu = gate[i] / (1 + std::exp(-static_cast<double>(gate[i])));
    EXPECT_NEAR(y[i], silu * up[i], 1e-6 * std::fabs(silu * up[i]) + 1e-7) << gate[i];
  }
}

TEST_P(Kernels, AddAndScale) {
  const auto x = floats(21);
  const auto before = floats(21);
  auto y = before;
  add_scaled(x.data(), 0.75F, 21, y.data());
  for (size_t i = 0; i < 21; ++i) expect_same(y[i], std::fma(0.75F, x[i], before[i]), 10);
  y = before;
  add(x.data(), 21, y.data());
  for (size_t i = 0; i < 21; ++i) EXPECT_EQ(y[i], x[i] + before[i]);
  y = before;
  scale(0.3F, 21, y.data());
  for (size_t i = 0; i < 21; ++i) EXPECT_EQ(y[i], 0.3F * before[i]);
}

TEST_P(Kernels, RunningSoftmaxIsTheSoftmax) {
  for (const int64_t count : {1, 5, 64, 65, 200}) {
    auto scores = floats(count);
    for (float& score : scores) score *= 30;
    double largest = -1e30;
    for (const float score : scores) largest = std::max<double>(largest, score * 0.7F);
    double total = 0;
    for (const float score : scores) total += std::exp(score * 0.7F - largest);

    RunningSoftmax softmax;
    std::vector<double> weights;
    for (int64_t begin = 0; begin < count; begin += kBlockTokens) {
      const int64_t valid = std::min(kBlockTokens, count - begin);
      std::array<float, kBlockTokens> block{};
      std::copy_n(scores.begin() + begin, valid, block.begin());
      const float factor = softmax.add_block(block.data(), valid, 0.7F);
      for (double& weight : weights) weight *= factor;
      weights.insert(weights.end(), block.begin(), block.begin() + valid);
      for (int64_t i = valid; i < kBlockTokens; ++i) EXPECT_EQ(block[i], 0);
    }
    EXPECT_NEAR(softmax.sum, total, 1e-5 * total);
    for (int64_t i = 0; i < count; ++i) {
      EXPECT_NEAR(weights[i] / softmax.sum, std::exp(scores[i] * 0.7F - largest) / total, 1e-6);
    }
  }
}

// A matrix in the order of tiles.
struct TiledMatrix {
  explicit TiledMatrix(const Matrix& w) : matrix(w) {
    std::byte* to = codes.at_least(amx::tiled_bytes(w));
    rare_lines.resize(static_cast<size_t>(amx::tiled_units(w)));
    for (int64_t row = 0; row < w.rows; row += amx::kUnitRows) amx::tile_rows(w, row, to, rare_lines.data());
    matrix.format = Matrix::Format::kTiledFP8;
    matrix.data = to;
    matrix.rare_lines = rare_lines.data();
  }

  Matrix matrix;
  Scratch<std::byte> codes;
  std::vector<uint64_t> rare_lines;
};

// y (rows, outputs) by amx.h
std::vector<float> amx_product(const std::vector<float>& x, int64_t rows, const Matrix& w, int64_t begin, int64_t end) {
  Scratch<std::byte> packed;
  const int64_t width = amx::group_width(rows);
  const int64_t groups = (rows + width - 1) / width;
  std::byte* to = packed.at_least(groups * amx::packed_bytes(width, w.cols));
  for (int64_t group = 0; group < groups; ++group) {
    amx::pack_group(x.data() + group * width * w.cols, w.cols, std::min(width, rows - group * width), w.cols, width,
                    to + group * amx::packed_bytes(width, w.cols));
  }
  std::vector<float> y(static_cast<size_t>(rows * (end - begin) + 1), -7);
  amx::dot_packed(to, rows, w, begin, end, y.data(), end - begin);
  EXPECT_EQ(y.back(), -7);  // nothing beyond its rows
  y.pop_back();
  return y;
}

// Each product within the error of two bf16 numbers and float32 sums, zeros, subnormals and the largest codes among the
// weights; and the same bits whatever is computed beside it. Whole matrices, and a rank's part that begins within
// blocks of scales.
TEST(Amx, ProductsAreRightAndDoNotDependOnTheirNeighbours) {
  if (!amx::enabled()) GTEST_SKIP() << "this CPU has no AMX";
  std::mt19937 random(1);
  struct Part {
    int64_t row;
    int64_t col;
    int64_t cols;
  };
  for (const Part part : {Part{0, 0, 32}, {0, 0, 128}, {0, 0, 192}, {0, 0, 640}, {24, 96, 320}, {120, 64, 64}}) {
    constexpr int64_t kOutputs = 300;
    constexpr int64_t kRows = 150;
    const int64_t cols = part.cols;
    const TestMatrix whole(Matrix::Format::kFP8, part.row + kOutputs, part.col + cols, random);
    const Matrix w = whole.matrix.part(part.row, kOutputs, part.col, cols);
    ASSERT_TRUE(amx::takes(w));
    const TiledMatrix tiled(w);
    std::vector<float> x(static_cast<size_t>(kRows * cols));
    for (float& value : x) value = std::normal_distribution<float>()(random);
    const std::vector<float> together = amx_product(x, kRows, tiled.matrix, 0, kOutputs);
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t o = 0; o < kOutputs; ++o) {
        double sum = 0;
        double magnitude = 0;
        for (int64_t k = 0; k < cols; ++k) {
          const double weight = whole.values[(part.row + o) * whole.matrix.cols + part.col + k];
          sum += x[r * cols + k] * weight;
          magnitude += std::fabs(x[r * cols + k] * weight);
        }
        ASSERT_NEAR(together[r * kOutputs + o], sum, magnitude * 0x1p-16) << "row " << r << " output " << o;
      }
    }
    for (const int64_t rows : {1, 2, 3, 5, 8, 9, 16, 17, 33, 129}) {
      for (const auto [begin, end] : {std::pair<int64_t, int64_t>{0, 300}, {32, 64}, {96, 288}, {288, 300}}) {
        const int64_t first = kRows - rows;
        const std::vector<float> last(x.begin() + first * cols, x.end());
        const std::vector<float> y = amx_product(last, rows, tiled.matrix, begin, end);
        for (int64_t r = 0; r < rows; ++r) {
          ASSERT_EQ(std::memcmp(y.data() + r * (end - begin), together.data() + (first + r) * kOutputs + begin,
                                static_cast<size_t>(end - begin) * sizeof(float)),
                    0)
              << "row " << r << " of " << rows;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Kernels, testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& info) { return std::string(hwy::TargetName(info.param)); });

}  // namespace
}  // namespace bellwether::engine::cpu
