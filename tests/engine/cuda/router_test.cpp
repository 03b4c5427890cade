// The GPU's router against the CPU's, and its choice of the most likely token.
#include "engine/cpu/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "engine/cuda/on_device.h"
#include "engine/cuda/step_kernels.h"

namespace bellwether::engine::cuda {
namespace {

struct Routing {
  int64_t experts, chosen, groups, groups_chosen;
  bool norms;
};

class Router : public testing::TestWithParam<Routing> {};

// The logits come in two parts; every fourth row has equal candidates.
TEST_P(Router, ChoosesAsTheCpuDoes) {
  const Routing of = GetParam();
  constexpr int64_t kRows = 65;
  ModelConfig config;
  config.n_routed_experts = of.experts;
  config.num_experts_per_tok = of.chosen;
  config.n_group = of.groups;
  config.topk_group = of.groups_chosen;
  config.norm_topk_prob = of.norms;
  config.routed_scaling_factor = 2.5;
  std::vector<float> logits = random_normals(2 * kRows * of.experts);
  std::vector<float> bias = random_normals(of.experts);
  for (float& value : bias) value *= 0.1F;
  bias[1] = bias[0];
  for (int64_t row = 0; row < kRows; row += 4) {
    for (int64_t part = 0; part < 2; ++part) {
      float* own = logits.data() + (part * kRows + row) * of.experts;
      own[1] = own[0];
    }
  }
  const OnDevice<float> on_device(logits);
  const OnDevice<float> bias_on_device(bias);
  const OnDevice<ExpertChoice> chosen(kRows * of.chosen);
  choose_experts({.experts = of.experts,
                  .chosen = of.chosen,
                  .groups = of.groups,
                  .groups_chosen = of.groups_chosen,
                  .norms_weights = of.norms,
                  .scaling = 2.5F},
                 on_device.get(), 2, bias_on_device.get(), kRows, chosen.get(), nullptr);
  const std::vector<ExpertChoice> actual = chosen.read();
  for (int64_t row = 0; row < kRows; ++row) {
    std::vector<float> sum(static_cast<size_t>(of.experts));
    for (int64_t e = 0; e < of.experts; ++e) {
      sum[e] = logits[row * of.experts + e] + logits[(kRows + row) * of.experts + e];
    }
    std::vector<cpu::ExpertChoice> expected(static_cast<size_t>(of.chosen));
    cpu::choose_experts(config, sum, bias, expected);
    for (int64_t i = 0; i < of.chosen; ++i) {
      EXPECT_EQ(actual[row * of.chosen + i].expert, expected[i].expert) << "row " << row;
      EXPECT_NEAR(actual[row * of.chosen + i].weight, expected[i].weight, 1e-5F) << "row " << row;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Router,
                         testing::Values(Routing{256, 8, 8, 4, true}, Routing{16, 4, 4, 2, true},
                                         Routing{12, 3, 1, 1, true}, Routing{384, 8, 1, 1, false},
                                         Routing{160, 6, 8, 3, false}, Routing{1024, 32, 64, 40, true}));

TEST(MostLikely, IsTheLowestOfTheLargest) {
  constexpr int64_t kStride = 9000;
  for (const int64_t width : {1, 31, 1000, 8080}) {
    std::vector<float> logits = random_normals(3 * kStride);
    logits[width - 1] = 100;            // row 0: the last
    logits[kStride] = 100;              // row 1: the first ...
    logits[kStride + width / 2] = 100;  // ... of two
    const OnDevice<float> on_device(logits);
    const OnDevice<LikelyToken> likely(3);
    most_likely(on_device.get(), 3, width, kStride, 50, likely.get(), nullptr);
    const std::vector<LikelyToken> actual = likely.read();
    EXPECT_EQ(actual[0].id, 50 + width - 1);
    EXPECT_EQ(actual[1].id, 50);
    const auto* row = logits.data() + 2 * kStride;
    EXPECT_EQ(actual[2].id, 50 + (std::max_element(row, row + width) - row));
  }
}

}  // namespace
}  // namespace bellwether::engine::cuda
