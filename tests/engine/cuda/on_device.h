// Arrays in GPU memory and random numbers to put there, for the tests and benchmarks of kernels.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "engine/cuda/launch.h"
#include "engine/cuda/layouts.h"

namespace bellwether::engine::cuda {

// Poisoned at first: NaN, in every format.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(int64_t count) : count_(static_cast<size_t>(count)) {
    check(cudaMalloc(reinterpret_cast<void**>(&data_), count_ * sizeof(T)), "cudaMalloc");
    poison();
  }
  explicit OnDevice(const std::vector<T>& values) : OnDevice(std::ssize(values)) { write(values, 0); }
  ~OnDevice() { (void)cudaFree(data_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  void poison() const { check(cudaMemset(data_, 0xFF, count_ * sizeof(T)), "cudaMemset"); }
  // Copies `values` to where element `begin` is.
  void write(const std::vector<T>& values, int64_t begin) {
    check(cudaMemcpy(data_ + begin, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  [[nodiscard]] T* get() const { return data_; }
  [[nodiscard]] std::vector<T> read() const {
    std::vector<T> values(count_);
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    check(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t count_;
};

inline std::mt19937& random_bits() {
  static std::mt19937 bits{std::random_device{}()};
  return bits;
}

// FP8 codes below 2 in magnitude.
inline std::vector<uint8_t> random_codes(int64_t count) {
  std::vector<uint8_t> values(static_cast<size_t>(count));
  for (uint8_t& value : values) value = static_cast<uint8_t>(random_bits()()) & 0xBF;
  return values;
}

inline std::vector<float> random_scales(int64_t count) {
  std::uniform_real_distribution<float> factor(0.005F, 0.02F);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = factor(random_bits());
  return values;
}

inline std::vector<float> random_normals(int64_t count) {
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random_bits());
  return values;
}

inline std::vector<__nv_bfloat16> random_bf16(int64_t count) {
  std::vector<__nv_bfloat16> values;
  values.reserve(static_cast<size_t>(count));
  for (const float value : random_normals(count)) values.push_back(__float2bfloat16(value));
  return values;
}

// Norm of the difference over norm. NaN, where an output was not written, fails every comparison.
class RelativeError {
 public:
  void add(double actual, double expected) {
    difference_ += (actual - expected) * (actual - expected);
    norm_ += expected * expected;
  }
  [[nodiscard]] double value() const { return std::sqrt(difference_ / norm_); }

 private:
  double difference_ = 0;
  double norm_ = 0;
};

inline double relative_error(const std::vector<__nv_bfloat16>& values, const std::vector<__nv_bfloat16>& expected) {
  RelativeError error;
  for (size_t i = 0; i < values.size(); ++i) error.add(__bfloat162float(values[i]), __bfloat162float(expected[i]));
  return error.value();
}

// Random rows of activations.
struct RandomRows {
  RandomRows(int64_t rows, int64_t cols)
      : codes_of({.rows_padded = Fp8Rows::padded(rows), .cols = cols}),
        code(random_codes(codes_of.codes_bytes())),
        scale(random_scales(codes_of.scales_count())) {
    codes_of.codes = code.get();
    codes_of.scales = scale.get();
  }
  Fp8Rows codes_of;
  OnDevice<uint8_t> code;
  OnDevice<float> scale;
};

}  // namespace bellwether::engine::cuda
