#include "autoscaler/replica_watch.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace bellwether::autoscaler {
namespace {

using std::chrono::milliseconds;
using Ids = std::vector<std::string>;

class ReplicaWatchTest : public ::testing::Test {
 protected:
  bool say(const std::string& id, v1::ReplicaPhase phase, uint32_t kv_used = 0, uint32_t waiting = 0,
           uint32_t kv_total = 100) {
    v1::ReplicaState state;
    state.set_replica_id(id);
    state.set_epoch(1);
    state.set_model("nano");
    state.set_phase(phase);
    state.mutable_capacity()->set_kv_blocks_total(kv_total);
    state.mutable_load()->set_kv_blocks_used(kv_used);
    state.mutable_load()->set_waiting(waiting);
    state.set_sequence(++sequence_);
    return watch_.apply(state);
  }

  uint64_t sequence_ = 0;
  mesh::TimePoint now_{std::chrono::hours(1)};
  ReplicaWatch watch_{[this] { return now_; }};
};

TEST_F(ReplicaWatchTest, SortsHeadsByPhase) {
  say("a", v1::REPLICA_PHASE_READY, 30);
  say("b", v1::REPLICA_PHASE_LOADING);
  say("c", v1::REPLICA_PHASE_DRAINING, 90);
  say("d", v1::REPLICA_PHASE_READY, 70);
  say("d", v1::REPLICA_PHASE_FAILED);
  const Observation seen = watch_.observe("nano");
  ASSERT_EQ(seen.heads.size(), 1);
  EXPECT_DOUBLE_EQ(seen.heads[0].kv_use, 0.3);
  EXPECT_EQ(seen.pending, 1);
  EXPECT_EQ(seen.silent, 0);
  EXPECT_EQ(watch_.members("nano"), (Ids{"a", "b"}));
  EXPECT_EQ(watch_.models(), Ids{"nano"});
  EXPECT_EQ(watch_.observe("other").total(), 0);
}

TEST_F(ReplicaWatchTest, ASilentHeadIsNeitherIdleNorGone) {
  say("a", v1::REPLICA_PHASE_READY, 30);
  now_ += milliseconds(1001);
  const Observation seen = watch_.observe("nano");
  EXPECT_TRUE(seen.heads.empty());
  EXPECT_EQ(seen.silent, 1);
}

TEST_F(ReplicaWatchTest, AHeadWithoutASizeTellsNothing) {
  say("a", v1::REPLICA_PHASE_READY, 0, 0, 0);
  EXPECT_EQ(watch_.observe("nano").silent, 1);
}

TEST_F(ReplicaWatchTest, ForgetsTheDeadAfterAWhile) {
  say("a", v1::REPLICA_PHASE_READY);
  say("b", v1::REPLICA_PHASE_STOPPED);
  now_ += kForgottenAfter;
  EXPECT_TRUE(watch_.forget_dead().empty());
  now_ += milliseconds(1);
  EXPECT_EQ(watch_.forget_dead(), Ids{"a"}) << "b said goodbye";
  EXPECT_EQ(watch_.observe("nano").total(), 0);
}

TEST_F(ReplicaWatchTest, ExcusedSilenceStartsAnew) {
  say("a", v1::REPLICA_PHASE_READY);
  now_ += kForgottenAfter + milliseconds(1);
  watch_.excuse_silence();
  EXPECT_TRUE(watch_.forget_dead().empty());
  EXPECT_EQ(watch_.observe("nano").heads.size(), 1);
}

TEST_F(ReplicaWatchTest, DropsOutdatedStates) {
  v1::ReplicaState state;
  state.set_replica_id("a");
  state.set_model("nano");
  state.set_epoch(2);
  state.set_sequence(5);
  state.set_phase(v1::REPLICA_PHASE_STOPPED);
  EXPECT_TRUE(watch_.apply(state));
  state.set_phase(v1::REPLICA_PHASE_READY);
  state.set_sequence(4);
  EXPECT_FALSE(watch_.apply(state));
  state.set_epoch(1);
  state.set_sequence(9);
  EXPECT_FALSE(watch_.apply(state));
  state.set_epoch(3);
  state.set_sequence(1);
  EXPECT_TRUE(watch_.apply(state));
  EXPECT_EQ(watch_.members("nano"), Ids{"a"});
}

TEST_F(ReplicaWatchTest, WaitingCountsOnlyWhenEveryReportHadSome) {
  const auto waited = [&] { return watch_.observe("nano").heads.at(0).waited_throughout; };
  say("a", v1::REPLICA_PHASE_READY, 10, 3);
  say("a", v1::REPLICA_PHASE_READY, 10, 0);
  say("a", v1::REPLICA_PHASE_READY, 10, 4);
  EXPECT_FALSE(waited());
  say("a", v1::REPLICA_PHASE_READY, 10, 1);
  EXPECT_TRUE(waited());
  say("a", v1::REPLICA_PHASE_READY, 10, 0);
  say("a", v1::REPLICA_PHASE_READY, 10, 2);
  EXPECT_FALSE(waited());
}

TEST_F(ReplicaWatchTest, HoldsALimitedNumberOfHeads) {
  for (size_t i = 0; i < kReplicasMax; ++i) EXPECT_TRUE(say("r" + std::to_string(i), v1::REPLICA_PHASE_LOADING));
  EXPECT_FALSE(say("one-more", v1::REPLICA_PHASE_LOADING));
  EXPECT_FALSE(say("", v1::REPLICA_PHASE_LOADING));
}

}  // namespace
}  // namespace bellwether::autoscaler
