#include "engine/batch_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace bellwether::engine {
namespace {

using testing::ElementsAre;

PlanSequence pending(int64_t tokens, int64_t blocks = 1) {
  return {.tokens_pending = tokens, .blocks_max = blocks};
}

constexpr PlanLimits kRoomy = {.batch_tokens_max = 100, .sequences_max = 10, .kv_blocks = 100};

TEST(BatchPlan, NothingToDo) {
  const BatchPlan plan = plan_batch({}, {}, kRoomy);
  EXPECT_EQ(plan.admitted, 0);
  EXPECT_THAT(plan.tokens, ElementsAre());
}

TEST(BatchPlan, DecodesComeFirstWhereverTheyStand) {
  const std::vector running = {pending(150), pending(1), pending(1)};
  const BatchPlan plan = plan_batch(running, {}, kRoomy);
  EXPECT_THAT(plan.tokens, ElementsAre(98, 1, 1));
}

TEST(BatchPlan, PromptsFillTheRestInOrder) {
  const std::vector running = {pending(60), pending(1)};
  const std::vector waiting = {pending(30), pending(30), pending(30)};
  const BatchPlan plan = plan_batch(running, waiting, kRoomy);
  EXPECT_EQ(plan.admitted, 3);
  EXPECT_THAT(plan.tokens, ElementsAre(60, 1, 30, 9, 0));
}

TEST(BatchPlan, AdmitsWhileEveryRunningSequenceCanReachItsEnd) {
  const std::vector running = {pending(1, 60)};
  const std::vector waiting = {pending(5, 30), pending(5, 11), pending(5, 1)};
  EXPECT_EQ(plan_batch(running, waiting, kRoomy).admitted, 1);  // the third fits, but would overtake the second
  PlanLimits limits = kRoomy;
  limits.kv_blocks = 101;
  EXPECT_EQ(plan_batch(running, waiting, limits).admitted, 2);
}

TEST(BatchPlan, AdmitsNoMoreThanMayRun) {
  const std::vector running = {pending(1), pending(1)};
  const std::vector waiting = {pending(5), pending(5), pending(5)};
  PlanLimits limits = kRoomy;
  limits.sequences_max = 4;
  EXPECT_EQ(plan_batch(running, waiting, limits).admitted, 2);
}

TEST(BatchPlan, KeepsItsLimitsAndAlwaysAdvances) {
  std::mt19937 random(1);
  const auto draw = [&](int64_t max) { return std::uniform_int_distribution<int64_t>(1, max)(random); };
  for (int round = 0; round < 2000; ++round) {
    PlanLimits limits{.batch_tokens_max = draw(40), .sequences_max = 0, .kv_blocks = draw(60)};
    limits.sequences_max = draw(limits.batch_tokens_max);
    std::vector<PlanSequence> running;
    int64_t blocks = 0;
    while (static_cast<int64_t>(running.size()) < draw(limits.sequences_max)) {
      const int64_t need = draw(8);
      if (blocks + need > limits.kv_blocks) break;
      blocks += need;
      running.push_back(pending(random() % 2 == 0 ? 1 : draw(50), need));
    }
    std::vector<PlanSequence> waiting;
    for (int64_t i = draw(5); i > 1; --i) waiting.push_back(pending(draw(50), std::min(draw(8), limits.kv_blocks)));

    const BatchPlan plan = plan_batch(running, waiting, limits);
    ASSERT_EQ(plan.tokens.size(), running.size() + static_cast<size_t>(plan.admitted));
    ASSERT_LE(std::ssize(plan.tokens), limits.sequences_max);
    ASSERT_LE(std::accumulate(plan.tokens.begin(), plan.tokens.end(), int64_t{0}), limits.batch_tokens_max);
    for (int64_t i = 0; i < plan.admitted; ++i) blocks += waiting[i].blocks_max;
    ASSERT_LE(blocks, limits.kv_blocks);
    bool has_prompt = false;
    bool prompt_advances = false;
    for (size_t i = 0; i < plan.tokens.size(); ++i) {
      const PlanSequence& sequence = i < running.size() ? running[i] : waiting[i - running.size()];
      ASSERT_GE(plan.tokens[i], 0);
      ASSERT_LE(plan.tokens[i], sequence.tokens_pending);
      if (sequence.tokens_pending == 1) {
        ASSERT_EQ(plan.tokens[i], 1);
      } else {
        has_prompt = true;
        prompt_advances |= plan.tokens[i] > 0;
      }
    }
    ASSERT_EQ(has_prompt, prompt_advances);
    ASSERT_TRUE(!plan.tokens.empty() || waiting.empty());
  }
}

}  // namespace
}  // namespace bellwether::engine
