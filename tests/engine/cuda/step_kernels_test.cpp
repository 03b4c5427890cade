// The small kernels of a step against double precision, on fresh random numbers, outputs poisoned before.
#include "engine/cuda/step_kernels.h"

#include <cuda_bf16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/cuda/kernels.h"
#include "engine/cuda/on_device.h"

namespace bellwether::engine::cuda {
namespace {

struct NormSize {
  int64_t rows;
  int64_t hidden;
};

class Norms : public testing::TestWithParam<NormSize> {};

TEST_P(Norms, AddNormaliseAndQuantise) {
  const auto [rows, hidden] = GetParam();
  const std::vector<float> x = random_normals(rows * hidden);
  const std::vector<__nv_bfloat16> delta = random_bf16(rows * hidden);
  const std::vector<float> weight = random_normals(hidden);
  const OnDevice<float> x_device(x);
  const OnDevice<__nv_bfloat16> delta_device(delta);
  const OnDevice<float> weight_device(weight);
  const OnDevice<__nv_bfloat16> values(rows * hidden);
  Fp8Rows codes{.rows_padded = Fp8Rows::padded(rows), .cols = hidden};
  const OnDevice<uint8_t> code_bytes(codes.codes_bytes());
  const OnDevice<float> scales(codes.scales_count());
  codes.codes = code_bytes.get();
  codes.scales = scales.get();
  add_and_norm(x_device.get(), delta_device.get(), weight_device.get(), rows, hidden, 1e-6F,
               {.codes = codes, .values = values.get(), .values_stride = hidden}, nullptr);
  const auto sums = x_device.read();
  const auto normed = values.read();
  const auto bytes = code_bytes.read();
  const auto read_scales = scales.read();
  RelativeError sum_error;
  RelativeError value_error;
  RelativeError code_error;
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<double> sum;
    double squares = 0;
    for (int64_t c = 0; c < hidden; ++c) {
      sum.push_back(static_cast<double>(x[row * hidden + c]) + __bfloat162float(delta[row * hidden + c]));
      squares += sum.back() * sum.back();
    }
    const double factor = 1 / std::sqrt(squares / static_cast<double>(hidden) + 1e-6);
    for (int64_t c = 0; c < hidden; ++c) {
      const double expected = sum[c] * factor * weight[c];
      __nv_fp8_e4m3 code;
      code.__x = bytes[codes.offset(row, c)];
      sum_error.add(sums[row * hidden + c], sum[c]);
      value_error.add(__bfloat162float(normed[row * hidden + c]), expected);
      code_error.add(static_cast<double>(static_cast<float>(code)) * read_scales[codes.scale_offset(row, c)], expected);
    }
  }
  EXPECT_LT(sum_error.value(), 1e-6);
  EXPECT_LT(value_error.value(), 3e-3);
  EXPECT_LT(code_error.value(), 4e-2);
}

INSTANTIATE_TEST_SUITE_P(Sizes, Norms,
                         testing::Values(NormSize{1, 7168}, NormSize{64, 7168}, NormSize{130, 256}, NormSize{3, 320},
                                         NormSize{2, 40}, NormSize{5, 16384}));

struct ProductSize {
  int64_t rows;
  int64_t n;
  int64_t k;
  int64_t splits;
};

class Products : public testing::TestWithParam<ProductSize> {};

TEST_P(Products, AreThoseOfDoublePrecision) {
  const auto [rows, n, k, splits] = GetParam();
  const std::vector<__nv_bfloat16> x = random_bf16(rows * k);
  const std::vector<__nv_bfloat16> w = random_bf16(n * k);
  const OnDevice<__nv_bfloat16> x_device(x);
  const OnDevice<__nv_bfloat16> w_device(w);
  const OnDevice<float> y(splits * rows * n);
  Bf16Product product{.x = x_device.get(), .x_stride = k, .rows = rows, .w = w_device.get(), .n = n, .k = k};
  product.y_float = y.get();
  product.y_stride = n;
  product.splits = splits;
  bf16_gemm(product, nullptr);
  const auto parts = y.read();
  RelativeError error;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t out = 0; out < n; ++out) {
      double expected = 0;
      for (int64_t c = 0; c < k; ++c) {
        expected += static_cast<double>(__bfloat162float(x[row * k + c])) * __bfloat162float(w[out * k + c]);
      }
      double actual = 0;
      for (int64_t split = 0; split < splits; ++split) actual += parts[(split * rows + row) * n + out];
      error.add(actual, expected);
    }
  }
  EXPECT_LT(error.value(), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Sizes, Products,
                         testing::Values(ProductSize{1, 256, 7168, 28}, ProductSize{64, 256, 7168, 16},
                                         ProductSize{70, 100, 320, 1}, ProductSize{3, 61, 36, 1},
                                         ProductSize{17, 2048, 256, 1}));

}  // namespace
}  // namespace bellwether::engine::cuda
