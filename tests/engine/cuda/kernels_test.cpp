// The fast products against the plain ones of simple_kernels.h, over R1's shapes at several ranks, the demo model's,
// and odd ones: fresh random codes, outputs poisoned before.
#include "engine/cuda/kernels.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "engine/cuda/launch.h"
#include "engine/cuda/simple_kernels.h"

namespace bellwether::engine::cuda {
namespace {

template <class T>
class OnDevice {
 public:
  explicit OnDevice(size_t count) : count_(count) {
    check(cudaMalloc(reinterpret_cast<void**>(&data_), count * sizeof(T)), "cudaMalloc");
    poison();
  }
  explicit OnDevice(const std::vector<T>& values) : OnDevice(values.size()) {
    check(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  ~OnDevice() { (void)cudaFree(data_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  void poison() { check(cudaMemset(data_, 0xFF, count_ * sizeof(T)), "cudaMemset"); }  // NaN, in every format
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

std::mt19937& random_bits() {
  static std::mt19937 bits{std::random_device{}()};
  return bits;
}

std::vector<uint8_t> codes(int64_t count) {
  std::vector<uint8_t> values(static_cast<size_t>(count));
  for (uint8_t& value : values) value = static_cast<uint8_t>(random_bits()()) & 0xBF;  // below 2 in magnitude
  return values;
}

std::vector<float> scales(int64_t count) {
  std::uniform_real_distribution<float> factor(0.005F, 0.02F);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = factor(random_bits());
  return values;
}

double relative_error(const std::vector<__nv_bfloat16>& values, const std::vector<__nv_bfloat16>& wanted) {
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double w = __bfloat162float(wanted[i]);
    difference += std::pow(__bfloat162float(values[i]) - w, 2);
    norm += w * w;
  }
  return std::sqrt(difference / norm);
}

struct RandomRows {
  RandomRows(int64_t rows, int64_t cols)
      : codes_of({.rows_padded = Fp8Rows::padded(rows), .cols = cols}),
        code(codes(codes_of.codes_bytes())),
        scale(scales(codes_of.scales_count())) {
    codes_of.codes = code.get();
    codes_of.scales = scale.get();
  }
  Fp8Rows codes_of;
  OnDevice<uint8_t> code;
  OnDevice<float> scale;
};

TEST(CudaKernels, FewRowsEqualThePlainProduct) {
  const std::vector<std::pair<int64_t, int64_t>> shapes = {{2112, 7168}, {1536, 1536}, {7168, 1024}, {7168, 2048},
                                                           {832, 256},   {200, 256},   {136, 384},   {8, 128}};
  for (const auto& [outputs, cols] : shapes) {
    Fp8Matrix w{.rows = outputs, .cols = cols};
    const OnDevice<uint8_t> tiles(codes(w.tiles_bytes()));
    const OnDevice<float> of_tiles(scales(w.row_tiles() * w.col_tiles()));
    w.tiles = tiles.get();
    w.scales = of_tiles.get();
    for (const int64_t rows : {1, 5, 8, 9, 16, 24, 33, 64, 65, 128, 200}) {
      const RandomRows x(rows, cols);
      const OnDevice<__nv_bfloat16> y(static_cast<size_t>(rows * outputs));
      const OnDevice<__nv_bfloat16> wanted(static_cast<size_t>(rows * outputs));
      fp8_gemm(x.codes_of, rows, w, y.get(), outputs, nullptr);
      simple::fp8_gemm(x.codes_of, rows, w, wanted.get(), outputs, nullptr);
      EXPECT_LT(relative_error(y.read(), wanted.read()), 5e-3) << outputs << "x" << cols << ", rows " << rows;
    }
  }
}

TEST(CudaKernels, ExpertsEqualThePlainOnes) {
  struct Case {
    int64_t experts, hidden, inner, top_k;
  };
  for (const Case& of :
       {Case{17, 256, 128, 4}, Case{33, 7168, 256, 8}, Case{9, 1024, 128, 8}, Case{1, 7168, 1152, 0}}) {
    Experts experts{.experts = of.experts, .hidden = of.hidden, .inner = of.inner};
    const int64_t tiles = of.experts * experts.inner_tiles() * ceil_div(of.hidden, kTile);
    const OnDevice<uint8_t> gate_up(codes(2 * tiles * kTileBytes));
    const OnDevice<uint8_t> down(codes(tiles * kTileBytes));
    const OnDevice<float> gate_up_scales(scales(2 * tiles));
    const OnDevice<float> down_scales(scales(tiles));
    experts.gate_up = gate_up.get();
    experts.gate_up_scales = gate_up_scales.get();
    experts.down = down.get();
    experts.down_scales = down_scales.get();
    for (const int64_t rows : {1, 7, 32, 33, 128, 300}) {
      ExpertPlan plan{.rows = rows, .choices = of.top_k + 1, .experts = of.experts};
      std::vector<ExpertChoice> choices(1);
      for (int64_t i = 0; i < rows * of.top_k; ++i) {
        choices.resize(static_cast<size_t>(rows * of.top_k));
        // Distinct for each row, uneven over the experts.
        const int64_t row = i / of.top_k;
        const int64_t expert = (row * row + i % of.top_k) % (of.experts - 1);
        choices[static_cast<size_t>(i)] = {static_cast<int32_t>(expert), 0.1F * static_cast<float>(i % 5 + 1)};
      }
      const OnDevice<ExpertChoice> chosen(choices);
      const OnDevice<int32_t> count(1);
      const OnDevice<ExpertTile> of_experts(static_cast<size_t>(plan.tiles_max()));
      const OnDevice<int32_t> slot_row(static_cast<size_t>(plan.slots_max()));
      const OnDevice<float> slot_weight(static_cast<size_t>(plan.slots_max()));
      const OnDevice<int32_t> choice_slot(static_cast<size_t>(rows * plan.choices));
      plan.tile_count = count.get();
      plan.tiles = of_experts.get();
      plan.slot_row = slot_row.get();
      plan.slot_weight = slot_weight.get();
      plan.choice_slot = choice_slot.get();
      group_rows(chosen.get(), 1, plan, nullptr);
      const RandomRows x(rows, of.hidden);
      Fp8Rows inner{.rows_padded = plan.slots_max(), .cols = of.inner};
      OnDevice<uint8_t> inner_codes(static_cast<size_t>(inner.codes_bytes()));
      OnDevice<float> inner_scales(static_cast<size_t>(inner.scales_count()));
      inner.codes = inner_codes.get();
      inner.scales = inner_scales.get();
      const OnDevice<__nv_bfloat16> y(static_cast<size_t>(plan.slots_max() * of.hidden));
      const OnDevice<__nv_bfloat16> out(static_cast<size_t>(rows * of.hidden));
      const OnDevice<__nv_bfloat16> wanted(static_cast<size_t>(rows * of.hidden));
      simple::experts_gate_up(experts, plan, x.codes_of, inner, nullptr);
      simple::experts_down(experts, plan, inner, y.get(), nullptr);
      experts_combine(plan, y.get(), of.hidden, wanted.get(), nullptr);
      check(cudaDeviceSynchronize(), "plain experts");
      inner_codes.poison();
      inner_scales.poison();
      experts_gate_up(experts, plan, x.codes_of, inner, nullptr);
      experts_down(experts, plan, inner, y.get(), nullptr);
      experts_combine(plan, y.get(), of.hidden, out.get(), nullptr);
      // An inner value at the border of two codes may fall to either side.
      EXPECT_LT(relative_error(out.read(), wanted.read()), 1.5e-2) << "inner " << of.inner << ", rows " << rows;
    }
  }
}

}  // namespace
}  // namespace bellwether::engine::cuda
