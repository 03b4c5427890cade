#include "scheduler/replica_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace bellwether::scheduler {
namespace {

using std::chrono::milliseconds;

class ReplicaTableTest : public ::testing::Test {
 protected:
  v1::ReplicaState state(const std::string& id, uint64_t sequence, uint32_t running = 0, uint32_t waiting = 0) {
    v1::ReplicaState state;
    state.set_replica_id(id);
    state.set_epoch(7);
    state.set_model("nano");
    state.set_phase(v1::REPLICA_PHASE_READY);
    state.mutable_capacity()->set_sequences_max(8);
    state.mutable_capacity()->set_waiting_max(4);
    state.mutable_capacity()->set_kv_blocks_total(100);
    state.mutable_load()->set_running(running);
    state.mutable_load()->set_waiting(waiting);
    state.set_sequence(sequence);
    return state;
  }

  v1::Dispatch event(v1::Dispatch::Kind kind, const std::string& request, const std::string& replica = "a",
                     const std::string& scheduler = "other") {
    v1::Dispatch event;
    event.set_kind(kind);
    event.set_request_id(request);
    event.set_attempt(1);
    event.set_replica_id(replica);
    event.set_epoch(7);
    event.set_model("nano");
    event.set_scheduler_id(scheduler);
    return event;
  }

  // Requests on head `id` as the view has them; -1 when it is not in view.
  int64_t requests(const std::string& id) {
    for (const ReplicaView& head : table_.view("nano")) {
      if (head.replica_id == id) return static_cast<int64_t>(head.requests);
    }
    return -1;
  }

  mesh::TimePoint now_{std::chrono::hours(1)};
  ReplicaTable table_{"self", [this] { return now_; }};
};

TEST_F(ReplicaTableTest, ShowsReadyHeadsOfTheModelInOrder) {
  EXPECT_EQ(table_.apply(state("b", 1)), StateEffect::kJoined);
  EXPECT_EQ(table_.apply(state("a", 1, 2, 3)), StateEffect::kJoined);
  auto loading = state("c", 1);
  loading.set_phase(v1::REPLICA_PHASE_LOADING);
  table_.apply(loading);
  auto draining = state("d", 1);
  draining.set_phase(v1::REPLICA_PHASE_DRAINING);
  table_.apply(draining);
  auto other = state("e", 1);
  other.set_model("other");
  table_.apply(other);
  const auto heads = table_.view("nano");
  ASSERT_EQ(heads.size(), 2);
  EXPECT_EQ(heads[0].replica_id, "a");
  EXPECT_EQ(heads[0].epoch, 7);
  EXPECT_EQ(heads[0].requests, 5);
  EXPECT_EQ(heads[0].requests_max, 12);
  EXPECT_EQ(heads[1].replica_id, "b");
}

TEST_F(ReplicaTableTest, AHeadUnheardForASecondIsGone) {
  table_.apply(state("a", 1));
  now_ += milliseconds(1000);
  EXPECT_EQ(requests("a"), 0);
  now_ += milliseconds(1);
  EXPECT_EQ(requests("a"), -1);
  EXPECT_EQ(table_.expire(), std::vector<std::string>{"a"});
  EXPECT_FALSE(table_.knows_model("nano"));
  EXPECT_EQ(table_.apply(state("a", 2)), StateEffect::kJoined);
}

TEST_F(ReplicaTableTest, StoppedFailedAndNewEpochDropTheReservations) {
  for (const auto phase : {v1::REPLICA_PHASE_STOPPED, v1::REPLICA_PHASE_FAILED}) {
    const std::string id = v1::ReplicaPhase_Name(phase);
    const auto first = state(id, 1);
    table_.apply(first);
    table_.reserve({"r", 1}, id);
    EXPECT_EQ(table_.reservations(), 1);
    auto last = first;
    last.set_phase(phase);
    last.set_sequence(2);
    EXPECT_EQ(table_.apply(last), StateEffect::kLeft);
    EXPECT_EQ(table_.reservations(), 0);
    EXPECT_EQ(requests(id), -1);
  }
  table_.apply(state("b", 1));
  table_.reserve({"r", 1}, "b");
  auto reborn = state("b", 1);
  reborn.set_epoch(8);
  EXPECT_EQ(table_.apply(reborn), StateEffect::kJoined);
  EXPECT_EQ(table_.reservations(), 0);
}

TEST_F(ReplicaTableTest, DropsOutdatedStates) {
  table_.apply(state("a", 5, 3));
  EXPECT_EQ(table_.apply(state("a", 5, 9)), StateEffect::kOutdated);
  EXPECT_EQ(table_.apply(state("a", 4, 9)), StateEffect::kOutdated);
  auto ghost = state("a", 99, 9);
  ghost.set_epoch(6);
  EXPECT_EQ(table_.apply(ghost), StateEffect::kOutdated);
  EXPECT_EQ(requests("a"), 3);
}

TEST_F(ReplicaTableTest, AStateOvertakenByTheLastOneDoesNotReviveTheHead) {
  table_.apply(state("a", 5));
  auto stopped = state("a", 9);
  stopped.set_phase(v1::REPLICA_PHASE_STOPPED);
  table_.apply(stopped);
  EXPECT_EQ(table_.apply(state("a", 8)), StateEffect::kOutdated);
  EXPECT_EQ(requests("a"), -1);
}

TEST_F(ReplicaTableTest, RefusesStatesThatCannotBe) {
  auto nameless = state("", 1);
  EXPECT_EQ(table_.apply(nameless), StateEffect::kInvalid);
  auto modelless = state("a", 1);
  modelless.set_model("");
  EXPECT_EQ(table_.apply(modelless), StateEffect::kInvalid);
  EXPECT_EQ(table_.apply(state(std::string(257, 'x'), 1)), StateEffect::kInvalid);
  auto phaseless = state("a", 1);
  phaseless.set_phase(v1::REPLICA_PHASE_UNSPECIFIED);
  EXPECT_EQ(table_.apply(phaseless), StateEffect::kInvalid);
}

TEST_F(ReplicaTableTest, HoldsALimitedNumberOfHeads) {
  for (size_t i = 0; i < kReplicasMax; ++i) table_.apply(state("replica-" + std::to_string(i), 1));
  EXPECT_EQ(table_.apply(state("one-more", 1)), StateEffect::kTableFull);
  EXPECT_EQ(table_.apply(state("replica-7", 2)), StateEffect::kUpdated);
}

TEST_F(ReplicaTableTest, CountsReservationsAtOnce) {
  table_.apply(state("a", 1));
  table_.reserve({"r", 1}, "a");
  table_.reserve({"r", 2}, "a");
  EXPECT_EQ(requests("a"), 2);
  EXPECT_TRUE(table_.release({"r", 1}, "a"));
  EXPECT_FALSE(table_.release({"r", 1}, "a"));
  EXPECT_EQ(requests("a"), 1);
}

TEST_F(ReplicaTableTest, CountsWhatTheHeadHeldBeforeThisSchedulerStarted) {
  table_.apply(state("a", 1, 5));
  table_.reserve({"r1", 1}, "a");
  EXPECT_EQ(requests("a"), 6);
  table_.reserve({"r2", 1}, "a");
  EXPECT_EQ(requests("a"), 7);
  table_.release({"r1", 1}, "a");
  EXPECT_EQ(requests("a"), 6);
  table_.apply(state("a", 2, 6));
  EXPECT_EQ(requests("a"), 6);
}

TEST_F(ReplicaTableTest, AppliesEventsOfOthersOnceInAnyOrder) {
  table_.apply(state("a", 1));
  table_.apply(event(v1::Dispatch::RESERVE, "r1"));
  table_.apply(event(v1::Dispatch::RESERVE, "r1"));
  EXPECT_EQ(requests("a"), 1);
  EXPECT_TRUE(table_.apply(event(v1::Dispatch::FREE, "r1")));
  EXPECT_FALSE(table_.apply(event(v1::Dispatch::FREE, "r1")));
  EXPECT_EQ(requests("a"), 0);
  table_.apply(event(v1::Dispatch::FREE, "r2"));
  table_.apply(event(v1::Dispatch::RESERVE, "r2"));
  EXPECT_EQ(requests("a"), 0);
}

TEST_F(ReplicaTableTest, AFreeOfOneHeadLeavesTheRequestOnAnother) {
  table_.apply(state("a", 1));
  table_.apply(state("b", 1));
  table_.apply(event(v1::Dispatch::FREE, "r", "a"));
  table_.apply(event(v1::Dispatch::RESERVE, "r", "b"));
  table_.apply(event(v1::Dispatch::RESERVE, "r", "a"));
  EXPECT_EQ(requests("a"), 0);
  EXPECT_EQ(requests("b"), 1);
}

TEST_F(ReplicaTableTest, OwnEventsThatComeBackChangeNothing) {
  table_.apply(state("a", 1));
  table_.apply(event(v1::Dispatch::RESERVE, "r", "a", "self"));
  EXPECT_EQ(requests("a"), 0);
  table_.reserve({"r", 1}, "a");
  table_.apply(event(v1::Dispatch::RESERVE, "r", "a", "self"));
  EXPECT_EQ(requests("a"), 1);
}

TEST_F(ReplicaTableTest, IgnoresEventsOfAnotherEpochOrAnUnknownHead) {
  table_.apply(state("a", 1));
  auto old = event(v1::Dispatch::RESERVE, "r1");
  old.set_epoch(6);
  table_.apply(old);
  table_.apply(event(v1::Dispatch::RESERVE, "r2", "nobody"));
  EXPECT_EQ(table_.reservations(), 0);
}

TEST_F(ReplicaTableTest, DropsSettledReservationsBeyondTheReportOldestFirst) {
  table_.apply(state("a", 1));
  for (int i = 0; i < 4; ++i) table_.reserve({"old-" + std::to_string(i), 1}, "a");
  now_ += milliseconds(999);
  table_.reserve({"young", 1}, "a");
  table_.apply(state("a", 2, 2));
  EXPECT_EQ(table_.reservations(), 5) << "none has settled";
  now_ += milliseconds(1);
  table_.apply(state("a", 3, 2, 1));
  EXPECT_EQ(table_.reservations(), 4) << "three are reported, the young one may be on its way";
  EXPECT_FALSE(table_.release({"old-0", 1}, "a"));
  EXPECT_TRUE(table_.release({"old-1", 1}, "a"));
  table_.apply(state("a", 4, 0, 0));
  EXPECT_EQ(table_.reservations(), 1);
  EXPECT_TRUE(table_.release({"young", 1}, "a"));
}

// Many requests, each reserved and freed in events that come once or twice and overtake each other.
TEST_F(ReplicaTableTest, AReplicaThatHasJustBecomeReadyStartsSlowly) {
  table_.set_slow_start(milliseconds(10000));
  const auto ready_since = [&](const std::string& id, uint64_t ms) {
    v1::ReplicaState made = state(id, 1);
    made.set_ready_unix_ms(mesh::unix_ms_now() - ms);
    table_.apply(made);
  };
  ready_since("a", 0);
  ready_since("b", 5000);
  ready_since("c", 60000);
  const auto heads = table_.view("nano");
  EXPECT_DOUBLE_EQ(heads[0].ramp, 0.1);
  EXPECT_NEAR(heads[1].ramp, 0.5, 0.05);
  EXPECT_EQ(heads[2].ramp, 1);
  now_ += milliseconds(900);
  EXPECT_NEAR(table_.view("nano")[1].ramp, 0.59, 0.05);
}

TEST_F(ReplicaTableTest, AHeadsOwnQueueIsUsedAsFarAsSet) {
  table_.set_head_waiting_max(2);
  table_.apply(state("a", 1));
  EXPECT_EQ(table_.view("nano")[0].requests_max, 10) << "8 run, 2 of 4 wait";
}

TEST_F(ReplicaTableTest, ACircuitStaysOpenThroughHeartbeatsUntilANewEpoch) {
  table_.apply(state("a", 1));
  table_.set_open("a", true);
  table_.apply(state("a", 2));
  const auto heads = table_.view("nano");
  EXPECT_TRUE(heads[0].open);
  EXPECT_TRUE(eligible_heads(heads).empty());
  v1::ReplicaState renewed = state("a", 1);
  renewed.set_epoch(8);
  table_.apply(renewed);
  EXPECT_FALSE(table_.view("nano")[0].open);
}

TEST_F(ReplicaTableTest, EndsAtZeroWhateverTheOrderOfEvents) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    ReplicaTable table("self", [this] { return now_; });
    const std::vector<std::string> ids = {"a", "b", "c"};
    for (const std::string& id : ids) table.apply(state(id, 1));
    std::vector<v1::Dispatch> events;
    for (int r = 0; r < 50; ++r) {
      const std::string& head = ids[random() % ids.size()];
      const std::string request = "r" + std::to_string(r);
      const std::string scheduler = random() % 2 == 0 ? "self" : "other";
      if (scheduler == "self") table.reserve({request, 1}, head);
      for (uint32_t copies = 1 + random() % 2; copies > 0; --copies) {
        events.push_back(event(v1::Dispatch::RESERVE, request, head, scheduler));
        events.push_back(event(v1::Dispatch::FREE, request, head, random() % 2 == 0 ? "" : scheduler));
      }
    }
    std::shuffle(events.begin(), events.end(), random);
    uint64_t sequence = 1;
    for (const v1::Dispatch& next : events) {
      table.apply(next);
      if (random() % 20 == 0) table.apply(state(ids[random() % ids.size()], ++sequence, random() % 30));
      for (const ReplicaView& head : table.view("nano")) {
        ASSERT_LE(head.requests, 100) << "a count has gone below zero, seed " << seed;
        ASSERT_LE(head.requests_own, head.requests);
      }
    }
    EXPECT_EQ(table.reservations(), 0) << "seed " << seed;
    for (const std::string& id : ids) table.apply(state(id, ++sequence));
    for (const ReplicaView& head : table.view("nano")) {
      EXPECT_EQ(head.requests, 0) << "seed " << seed;
      EXPECT_EQ(head.requests_own, 0) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace bellwether::scheduler
