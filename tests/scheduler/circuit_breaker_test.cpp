#include "scheduler/circuit_breaker.h"

#include <gtest/gtest.h>

namespace bellwether::scheduler {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class CircuitBreakerTest : public ::testing::Test {
 protected:
  CircuitBreakerTest() { hear(0, 0); }

  void hear(uint32_t running, uint64_t steps, uint64_t epoch = 1) {
    v1::ReplicaState state;
    state.set_epoch(epoch);
    state.mutable_load()->set_running(running);
    state.add_ranks()->set_steps(steps);
    breaker_.heard(state, now_);
  }
  void open_by_silence() {
    for (int i = 0; i < CircuitBreaker::kFailuresInRow; ++i) breaker_.answered(false, now_);
    ASSERT_TRUE(breaker_.open());
  }

  mesh::TimePoint now_{std::chrono::hours(1)};
  CircuitBreaker breaker_{{.stall_limit = seconds(10), .canary_after_idle = seconds(60)}};
};

TEST_F(CircuitBreakerTest, OpensAfterFailuresInARow) {
  breaker_.answered(false, now_);
  breaker_.answered(false, now_);
  breaker_.answered(true, now_);
  breaker_.answered(false, now_);
  breaker_.answered(false, now_);
  EXPECT_FALSE(breaker_.open());
  breaker_.answered(false, now_);
  EXPECT_TRUE(breaker_.open());
}

TEST_F(CircuitBreakerTest, TakingRequestsDoesNotExcuseFailingThem) {
  for (int i = 0; i < CircuitBreaker::kFailuresInRow; ++i) {
    EXPECT_FALSE(breaker_.open());
    breaker_.answered(true, now_);
    breaker_.finished(false, now_);
  }
  EXPECT_TRUE(breaker_.open());
}

TEST_F(CircuitBreakerTest, OpensWhenNoStepIsComputedInTime) {
  now_ += seconds(100);  // idle
  hear(1, 0);
  now_ += seconds(10);
  hear(1, 1);
  now_ += seconds(10);
  hear(1, 1);
  EXPECT_FALSE(breaker_.open());
  now_ += milliseconds(1);
  hear(1, 1);
  EXPECT_TRUE(breaker_.open());
}

TEST_F(CircuitBreakerTest, AnIdleHeadDoesNotStall) {
  hear(0, 5);
  now_ += seconds(59);
  hear(0, 5);
  EXPECT_FALSE(breaker_.open());
  EXPECT_FALSE(breaker_.wants_canary(now_));
}

TEST_F(CircuitBreakerTest, ACanaryClosesIt) {
  open_by_silence();
  EXPECT_FALSE(breaker_.wants_canary(now_));
  now_ += CircuitBreaker::kOpenMin;
  EXPECT_TRUE(breaker_.wants_canary(now_));
  breaker_.canary_sent();
  EXPECT_FALSE(breaker_.wants_canary(now_)) << "one at a time";
  breaker_.canary_ended(1, true, now_);
  EXPECT_FALSE(breaker_.open());
  breaker_.answered(false, now_);
  EXPECT_FALSE(breaker_.open()) << "it begins anew";
}

TEST_F(CircuitBreakerTest, IsTriedLessOftenEachTimeDownToALimit) {
  open_by_silence();
  milliseconds wait = CircuitBreaker::kOpenMin;
  for (int i = 0; i < 8; ++i) {
    now_ += wait - milliseconds(1);
    EXPECT_FALSE(breaker_.wants_canary(now_)) << i;
    now_ += milliseconds(1);
    ASSERT_TRUE(breaker_.wants_canary(now_)) << i;
    breaker_.canary_sent();
    breaker_.canary_ended(1, false, now_);
    EXPECT_TRUE(breaker_.open());
    wait = std::min(2 * wait, CircuitBreaker::kOpenMax);
  }
}

TEST_F(CircuitBreakerTest, AnIdleHeadIsTriedAndCutOffWhenItIsDead) {
  now_ += seconds(60);
  hear(0, 0);
  ASSERT_TRUE(breaker_.wants_canary(now_));
  breaker_.canary_sent();
  breaker_.canary_ended(1, true, now_);
  EXPECT_FALSE(breaker_.wants_canary(now_));
  now_ += seconds(60);
  ASSERT_TRUE(breaker_.wants_canary(now_));
  breaker_.canary_sent();
  breaker_.canary_ended(1, false, now_);
  EXPECT_TRUE(breaker_.open());
}

TEST_F(CircuitBreakerTest, WorkAndAnothersCanaryCountAsLife) {
  now_ += seconds(50);
  hear(0, 3);
  now_ += seconds(50);
  EXPECT_FALSE(breaker_.wants_canary(now_));
  now_ += seconds(10);
  EXPECT_TRUE(breaker_.wants_canary(now_));
}

TEST_F(CircuitBreakerTest, ANewEpochIsANewHead) {
  open_by_silence();
  now_ += CircuitBreaker::kOpenMin;
  breaker_.canary_sent();
  hear(0, 0, 2);
  EXPECT_FALSE(breaker_.open());
  breaker_.canary_ended(1, false, now_);
  EXPECT_FALSE(breaker_.open()) << "that was the old one's";
}

TEST(CircuitBreaker, NothingIsWatchedThatIsSwitchedOff) {
  mesh::TimePoint now{std::chrono::hours(1)};
  CircuitBreaker breaker{BreakerOptions{}};
  v1::ReplicaState state;
  state.set_epoch(1);
  state.mutable_load()->set_running(1);
  breaker.heard(state, now);
  now += std::chrono::hours(1);
  breaker.heard(state, now);
  EXPECT_FALSE(breaker.open());
  EXPECT_FALSE(breaker.wants_canary(now));
}

}  // namespace
}  // namespace bellwether::scheduler
