#include "engine/cpu/router.h"

#include <gtest/gtest.h>

#include <cmath>

namespace bellwether::engine::cpu {
namespace {

ModelConfig config_of(int64_t experts, int64_t groups, int64_t groups_kept, int64_t top_k) {
  ModelConfig config;
  config.n_routed_experts = experts;
  config.n_group = groups;
  config.topk_group = groups_kept;
  config.num_experts_per_tok = top_k;
  config.routed_scaling_factor = 2;
  return config;
}

float logit(double score) {
  return static_cast<float>(std::log(score / (1 - score)));
}

std::vector<ExpertChoice> choose(const ModelConfig& config, const std::vector<double>& scores,
                                 std::vector<float> bias = {}) {
  std::vector<float> logits;
  for (const double score : scores) logits.push_back(logit(score));
  bias.resize(scores.size());
  std::vector<ExpertChoice> choices(static_cast<size_t>(config.num_experts_per_tok));
  choose_experts(config, logits, bias, choices);
  return choices;
}

TEST(Router, WeightsAreScoresThatSumToTheScalingFactor) {
  const auto choices = choose(config_of(4, 1, 1, 2), {0.1, 0.6, 0.3, 0.2});
  ASSERT_EQ(choices.size(), 2U);
  EXPECT_EQ(choices[0].expert, 1);
  EXPECT_NEAR(choices[0].weight, 2 * 0.6 / 0.9, 1e-6);
  EXPECT_EQ(choices[1].expert, 2);
  EXPECT_NEAR(choices[1].weight, 2 * 0.3 / 0.9, 1e-6);
}

TEST(Router, TheBiasChoosesButDoesNotWeigh) {
  const auto choices = choose(config_of(4, 1, 1, 2), {0.1, 0.6, 0.3, 0.2}, {0.5F, 0, 0, 0});
  EXPECT_EQ(choices[0].expert, 0);
  EXPECT_NEAR(choices[0].weight, 2 * 0.1 / 0.7, 1e-6);
  EXPECT_EQ(choices[1].expert, 1);
}

TEST(Router, GroupsAreRankedByTheirBestTwo) {
  // Group 0 has the best expert, groups 1 and 2 the best pairs.
  const auto choices = choose(config_of(6, 3, 2, 3), {0.9, 0.05, 0.5, 0.5, 0.6, 0.45});
  EXPECT_EQ(choices[0].expert, 2);
  EXPECT_EQ(choices[1].expert, 3);
  EXPECT_EQ(choices[2].expert, 4);
}

TEST(Router, EqualsGoToTheLowerNumber) {
  const auto choices = choose(config_of(6, 3, 1, 1), {0.5, 0.5, 0.5, 0.5, 0.5, 0.5});
  EXPECT_EQ(choices[0].expert, 0);
}

TEST(Router, LosingGroupsAreOutOfTheRace) {
  // In the only group kept, one candidate is below 0; those of the other group are above it.
  const auto choices = choose(config_of(4, 2, 1, 2), {0.5, 0.5, 0.9, 0.2}, {-0.4F, -0.4F, 0, -0.3F});
  EXPECT_EQ(choices[0].expert, 2);
  EXPECT_EQ(choices[1].expert, 3);
  EXPECT_NEAR(choices[1].weight, 2 * 0.2 / 1.1, 1e-6);
}

TEST(Router, WeightsStayScoresWithoutNormalisation) {
  ModelConfig config = config_of(4, 1, 1, 1);
  config.norm_topk_prob = false;
  EXPECT_NEAR(choose(config, {0.1, 0.6, 0.3, 0.2})[0].weight, 1.2, 1e-6);
}

}  // namespace
}  // namespace bellwether::engine::cpu
