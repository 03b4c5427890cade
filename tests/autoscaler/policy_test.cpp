#include "autoscaler/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <random>
#include <string>
#include <vector>

namespace bellwether::autoscaler {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::HasSubstr;

const mesh::TimePoint kStart{std::chrono::hours(1)};

Observation ready(std::vector<double> uses, uint32_t pending = 0, uint32_t silent = 0) {
  Observation seen;
  seen.at = kStart;
  for (const double use : uses) seen.heads.push_back({use, false});
  seen.pending = pending;
  seen.silent = silent;
  return seen;
}

// No windows, so that one decision shows the recommendation, bounded.
Policy immediate() {
  Policy policy;
  policy.scale_down_window = milliseconds(0);
  policy.replicas_max = 100;
  return policy;
}

struct Case {
  const char* name;
  Observation seen;
  uint32_t desired;

  friend std::ostream& operator<<(std::ostream& out, const Case& shown) { return out << shown.name; }
};

class DecideOnce : public ::testing::TestWithParam<Case> {};

TEST_P(DecideOnce, GivesTheNumber) {
  const Decision decision = decide(GetParam().seen, immediate(), History());
  EXPECT_EQ(decision.desired, GetParam().desired) << ::testing::PrintToString(decision.reasons);
  EXPECT_FALSE(decision.reasons.empty());
}

// Target 0.5, tolerance 0.1, at least 1.
INSTANTIATE_TEST_SUITE_P(
    Table, DecideOnce,
    ::testing::Values(Case{"on_target", ready({0.5, 0.5}), 2}, Case{"within_tolerance_above", ready({0.55, 0.55}), 2},
                      Case{"within_tolerance_below", ready({0.46, 0.45}), 2}, Case{"above", ready({0.7, 0.7}), 3},
                      Case{"below", ready({0.1, 0.1, 0.1, 0.1}), 1}, Case{"idle", ready({0, 0, 0}), 1},
                      // AIBrix multiplies a mean by nothing and never passes 1 / target.
                      Case{"full_replicas_are_multiplied", ready({1, 1, 1, 1}), 8},
                      Case{"exact_product_is_not_rounded_up", ready({0.75, 0.75, 0.75, 0.75}), 6},
                      // AIBrix counts replicas that load or do not answer as idle.
                      Case{"loading_is_not_idle", ready({0.5, 0.5}, 2), 2},
                      Case{"pending_covers_the_need", ready({0.9, 0.9}, 2), 4},
                      Case{"pending_covers_a_part", ready({1, 1}, 1), 4},
                      Case{"pending_within_tolerance", ready({0.53, 0.53, 0.54}, 0, 0), 3},
                      Case{"silent_is_not_idle", ready({0.3}, 0, 1), 2},
                      Case{"silent_and_loaded", ready({0.9, 0.9}, 0, 1), 4}, Case{"no_data_at_all", ready({}, 0, 3), 3},
                      Case{"only_pending", ready({}, 2), 2},
                      // AIBrix switches itself off at zero.
                      Case{"nothing_there", ready({}), 1}),
    [](const auto& info) { return info.param.name; });

TEST(Decide, QueuedRequestsFillEveryReplica) {
  auto seen = ready({0.2, 0.2});
  seen.queued = 1;
  const Decision decision = decide(seen, immediate(), History());
  EXPECT_EQ(decision.desired, 4);
  EXPECT_THAT(decision.reasons, Contains(HasSubstr("1 requests queued")));
}

TEST(Decide, AQueueStartsTheFirstReplica) {
  Policy policy = immediate();
  policy.replicas_min = 0;
  Observation seen = ready({});
  EXPECT_EQ(decide(seen, policy, History()).desired, 0);
  seen.queued = 3;
  EXPECT_EQ(decide(seen, policy, History()).desired, 1);
  seen.pending = 1;
  EXPECT_EQ(decide(seen, policy, History()).desired, 1) << "it is on its way";
}

TEST(Decide, RequestsThatKeepWaitingCountAsAFullReplica) {
  auto seen = ready({0.2, 0.2});
  seen.heads[0].waited_throughout = true;
  const Decision decision = decide(seen, immediate(), History());
  EXPECT_EQ(decision.desired, 3);
  EXPECT_DOUBLE_EQ(decision.kv_use_mean.value(), 0.2) << "the mean that is published stays what was measured";
  EXPECT_THAT(decision.reasons, Contains(HasSubstr("waiting")));
}

TEST(Decide, HasNoMeanWithoutData) {
  EXPECT_EQ(decide(ready({}, 1, 1), immediate(), History()).kv_use_mean, std::nullopt);
}

TEST(Decide, RespectsTheBounds) {
  Policy policy = immediate();
  policy.replicas_min = 2;
  policy.replicas_max = 3;
  EXPECT_EQ(decide(ready({1, 1, 1}), policy, History()).desired, 3);
  EXPECT_EQ(decide(ready({0, 0, 0}), policy, History()).desired, 2);
  EXPECT_EQ(decide(ready({}), policy, History()).desired, 2);
}

// Decides again and again on a clock of its own, with what is decided taking effect at once unless the test says
// otherwise.
class Rehearsal {
 public:
  explicit Rehearsal(Policy policy) : policy_(policy) {}

  uint32_t step(Observation seen, milliseconds after = seconds(1)) {
    now_ += after;
    seen.at = now_;
    const Decision decision = decide(seen, policy_, history_);
    history_.record(seen, decision, std::max(policy_.scale_up_window, policy_.scale_down_window));
    return decision.desired;
  }

 private:
  Policy policy_;
  History history_;
  mesh::TimePoint now_ = kStart;
};

std::vector<double> all(uint32_t count, double use) {
  return std::vector<double>(count, use);
}

TEST(Windows, ScaleDownWaitsForTheWholeWindow) {
  Policy policy = immediate();
  policy.scale_down_window = seconds(60);
  Rehearsal run(policy);
  EXPECT_EQ(run.step(ready(all(4, 0.5))), 4);
  for (int second = 1; second < 60; ++second) EXPECT_EQ(run.step(ready(all(4, 0.1))), 4) << second;
  EXPECT_EQ(run.step(ready(all(4, 0.1))), 1);
}

// AIBrix takes the lowest recommendation of the window, so one idle moment is enough.
TEST(Windows, ScaleDownActsOnTheHighestRecommendation) {
  Policy policy = immediate();
  policy.scale_down_window = seconds(60);
  Rehearsal run(policy);
  run.step(ready(all(4, 0.5)));
  for (int second = 1; second < 300; ++second) {
    EXPECT_GE(run.step(ready(all(4, second % 30 == 0 ? 0.37 : 0.05))), 3) << second;
  }
}

TEST(Windows, ScaleUpActsOnTheLowestRecommendation) {
  Policy policy = immediate();
  policy.scale_up_window = seconds(30);
  Rehearsal run(policy);
  EXPECT_EQ(run.step(ready(all(2, 0.5))), 2);
  for (int second = 1; second < 30; ++second) EXPECT_EQ(run.step(ready(all(2, 1))), 2) << second;
  EXPECT_EQ(run.step(ready(all(2, 1))), 4);
}

TEST(Windows, ScaleUpIsImmediateByDefault) {
  Rehearsal run(immediate());
  EXPECT_EQ(run.step(ready(all(2, 0.5))), 2);
  EXPECT_EQ(run.step(ready(all(2, 1))), 4);
}

// AIBrix forgets its cooldown when its controller restarts.
TEST(Windows, AFreshAutoscalerDoesNotScaleDownAtOnce) {
  Policy policy = immediate();
  policy.scale_down_window = seconds(60);
  Rehearsal run(policy);
  for (int second = 0; second < 60; ++second) EXPECT_EQ(run.step(ready(all(5, 0.05))), 5) << second;
  EXPECT_EQ(run.step(ready(all(5, 0.05))), 1);
}

TEST(Windows, TheMinimumIsStartedAtOnce) {
  Policy policy = immediate();
  policy.replicas_min = 2;
  policy.scale_up_window = seconds(600);
  Rehearsal run(policy);
  EXPECT_EQ(run.step(ready({})), 2);
}

// AIBrix decides again every 10 s while a replica loads for 20 minutes.
TEST(Decide, AScaleUpInProgressIsNotRepeated) {
  Rehearsal run(Policy{.replicas_max = 100});
  EXPECT_EQ(run.step(ready(all(2, 1))), 4);
  for (int i = 0; i < 1200; ++i) EXPECT_EQ(run.step(ready(all(2, 1), 2)), 4);
  EXPECT_EQ(run.step(ready(all(4, 0.5))), 4);
}

TEST(Decide, ADeadReplicaIsReplaced) {
  Rehearsal run(Policy{.replicas_max = 100});
  EXPECT_EQ(run.step(ready(all(3, 0.5))), 3);
  EXPECT_EQ(run.step(ready(all(2, 0.5))), 3) << "what it carried has not come back yet";
  EXPECT_EQ(run.step(ready({})), 3);
}

TEST(Decide, SilenceKeepsWhatIs) {
  Rehearsal run(immediate());
  run.step(ready(all(3, 0.5)));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(run.step(ready({}, 0, 3)), 3);
}

TEST(Decide, NoiseWithinTheToleranceChangesNothing) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> noise(0.455, 0.545);
  for (uint32_t count = 1; count <= 20; ++count) {
    Rehearsal run(immediate());
    for (int i = 0; i < 200; ++i) {
      std::vector<double> uses(count);
      for (double& use : uses) use = noise(random);
      ASSERT_EQ(run.step(ready(uses)), count);
    }
  }
}

TEST(Decide, NeverLeavesTheBoundsWhateverIsSeen) {
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    Policy policy;
    policy.replicas_min = random() % 4;
    policy.replicas_max = policy.replicas_min + 1 + random() % 6;
    policy.kv_use_target = 0.05 + 0.95 * (random() % 100) / 100;
    policy.scale_up_window = seconds(random() % 20);
    policy.scale_down_window = seconds(random() % 20);
    Rehearsal run(policy);
    for (int i = 0; i < 100; ++i) {
      std::vector<double> uses(random() % 12);
      for (double& use : uses) use = (random() % 101) / 100.0;
      auto seen = ready(uses, random() % 4, random() % 4);
      for (HeadUse& head : seen.heads) head.waited_throughout = random() % 5 == 0;
      const uint32_t desired = run.step(seen, milliseconds(random() % 3000));
      ASSERT_GE(desired, policy.replicas_min);
      ASSERT_LE(desired, policy.replicas_max);
    }
  }
}

}  // namespace
}  // namespace bellwether::autoscaler
