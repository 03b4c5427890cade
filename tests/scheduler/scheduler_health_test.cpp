// Heads that fail or stall, on a real bus.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "scheduler/scheduler_fixture.h"

namespace bellwether::scheduler {
namespace {

using ::testing::Contains;
using ::testing::Not;
using ::testing::StartsWith;

class SchedulerHealthTest : public SchedulerTest {
 protected:
  SchedulerHealthTest() {
    settings_.work_timeout_ms = 50;
    settings_.canary_timeout_ms = 100;
  }

  [[nodiscard]] bool is_open(const std::string& id) const {
    for (const ReplicaView& head : schedulers_[0]->scheduler.replicas().view("nano")) {
      if (head.replica_id == id) return head.open;
    }
    return false;
  }
  void run_until_open(const std::string& id, bool open = true) {
    run_until([&] { return is_open(id) == open; });
  }
  [[nodiscard]] bool shows(const std::string& line) const {
    return mesh::render_metrics(schedulers_[0]->registry).find(line) != std::string::npos;
  }
};

TEST_F(SchedulerHealthTest, AHeadThatKeepsSilentIsCutOffUntilACanaryComesBack) {
  start(1, {"a", "b"});
  head("a").manner = Manner::kSilent;
  head("b").manner = Manner::kDraining;
  for (int i = 0; i < CircuitBreaker::kFailuresInRow; ++i) place("r" + std::to_string(i));
  EXPECT_TRUE(is_open("a"));
  EXPECT_FALSE(is_open("b")) << "a refusal is an answer";
  head("b").manner = Manner::kAccepts;
  for (int i = 0; i < 4; ++i) EXPECT_EQ(place("s" + std::to_string(i)).placed().replica_id(), "b");
  EXPECT_EQ(head("a").offered.size(), 3U);

  run_until([&] { return shows("bellwether_scheduler_circuits_open 1"); });
  run_until([&] { return shows(R"(bellwether_scheduler_canaries_total{outcome="nothing"} 1)"); });
  EXPECT_TRUE(is_open("a"));
  run_until([&] { return !head("a").cancelled.empty() && head("a").cancelled.back().starts_with("canary"); });
  head("a").manner = Manner::kAccepts;
  run_until_open("a", false);
  EXPECT_EQ(place("t").placed().replica_id(), "a") << "it has less to do";
  EXPECT_EQ(schedulers_[0]->scheduler.replicas().reservations(), 5U) << "canaries reserve nothing";
}

TEST_F(SchedulerHealthTest, AHeadWhoseRequestsFailIsCutOff) {
  start(1, {"a"});
  for (int i = 0; i < CircuitBreaker::kFailuresInRow; ++i) {
    EXPECT_FALSE(is_open("a"));
    const std::string id = "r" + std::to_string(i);
    ASSERT_TRUE(place(id).has_placed());
    head("a").finish(id, 1, /*failed=*/true);
    run_until([&] { return schedulers_[0]->scheduler.replicas().reservations() == 0; });
  }
  EXPECT_TRUE(is_open("a"));
  EXPECT_EQ(place("more").refused().code(), v1::REFUSAL_CODE_OVERLOADED);
  run_until_open("a", false);
  EXPECT_EQ(head("a").canaries, 1);
}

TEST_F(SchedulerHealthTest, AHeadThatHasWorkAndComputesNothingIsCutOff) {
  settings_.head_stall_ms = 400;
  start(1, {"a", "b"});
  head("a").state().add_ranks()->set_steps(1);
  ASSERT_EQ(place("r").placed().replica_id(), "a");
  ASSERT_EQ(place("s").placed().replica_id(), "b");
  head("b").finish("s");
  head("a").manner = Manner::kSilent;
  run_until_open("a");
  EXPECT_FALSE(is_open("b"));
}

TEST_F(SchedulerHealthTest, AnIdleHeadIsTried) {
  settings_.canary_after_idle_ms = 200;
  start(1, {"a", "b"});
  head("a").manner = Manner::kSilent;
  run_until_open("a");
  run_until([&] { return head("b").canaries > 1; });
  EXPECT_FALSE(is_open("b"));
  EXPECT_THAT(head("a").offered, Not(Contains(StartsWith("canary"))));
}

}  // namespace
}  // namespace bellwether::scheduler
