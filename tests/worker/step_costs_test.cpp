#include "worker/step_costs.h"

#include <gtest/gtest.h>

namespace bellwether::worker {
namespace {

constexpr int64_t kBatchMax = 64;

// 20 ms and 0.25 ms for each token written, 0.1 ms for each token read.
double seconds(int64_t read, int64_t written) {
  return (written > 0 ? 0.020 + 0.00025 * static_cast<double>(written) : 0) + 0.0001 * static_cast<double>(read);
}

TEST(StepCosts, AreZeroBeforeTheFirstStep) {
  StepCosts costs(kBatchMax);
  EXPECT_EQ(costs.prefill_tokens_per_s(), 0);
  EXPECT_EQ(costs.decode_tokens_per_s(), 0);
  costs.add(0, 10, 10);
  EXPECT_EQ(costs.prefill_tokens_per_s(), 0);
}

TEST(StepCosts, WritingIsThatOfAFullBatchWhateverRuns) {
  StepCosts costs(kBatchMax);
  for (int64_t i = 0; i < 400; ++i) costs.add(seconds(0, 1 + i % 9), 0, 1 + i % 9);
  EXPECT_NEAR(costs.decode_tokens_per_s(), kBatchMax / seconds(0, kBatchMax), 0.1 * kBatchMax / seconds(0, kBatchMax));
}

TEST(StepCosts, OneSequenceAloneIsAGuessOfAFullBatch) {
  StepCosts costs(kBatchMax);
  for (int i = 0; i < 100; ++i) costs.add(seconds(0, 1), 0, 1);
  EXPECT_NEAR(costs.decode_tokens_per_s(), kBatchMax / (2 * seconds(0, 1)), kBatchMax / seconds(0, 1) * 0.02);
}

TEST(StepCosts, ReadingIsWithoutWhatTheStepsWrote) {
  StepCosts costs(kBatchMax);
  for (int64_t i = 0; i < 200; ++i) {
    costs.add(seconds(0, 1 + i % 32), 0, 1 + i % 32);
    costs.add(seconds(1000, 1 + i % 32), 1000, 1 + i % 32);
  }
  EXPECT_NEAR(costs.prefill_tokens_per_s(), 10000, 300);
}

TEST(StepCosts, StepsThatReadMuchCountMost) {
  StepCosts costs(kBatchMax);
  for (int i = 0; i < 100; ++i) {
    costs.add(0.01, 2, 0);  // hardly more than starting a step costs
    costs.add(0.2, 2000, 0);
  }
  EXPECT_NEAR(costs.prefill_tokens_per_s(), 10000, 100);
}

TEST(StepCosts, FollowAReplicaThatBecomesSlower) {
  StepCosts costs(kBatchMax);
  for (int64_t i = 0; i < 300; ++i) costs.add(seconds(1000, 0), 1000, 0);
  for (int64_t i = 0; i < 300; ++i) costs.add(2 * seconds(1000, 0), 1000, 0);
  EXPECT_NEAR(costs.prefill_tokens_per_s(), 5000, 50);
}

}  // namespace
}  // namespace bellwether::worker
