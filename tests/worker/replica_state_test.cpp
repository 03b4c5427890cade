#include "worker/replica_state.h"

#include <gtest/gtest.h>

#include "worker/rates.h"

namespace bellwether::worker {
namespace {

using std::chrono::milliseconds;

const mesh::TimePoint kStart = mesh::TimePoint{} + std::chrono::hours(1);

TEST(Announcements, TheFirstIsDueAtOnce) {
  EXPECT_LE(Announcements().due(), kStart);
}

TEST(Announcements, AHeartbeatFollowsWhenNothingChanges) {
  Announcements announcements;
  announcements.announced(kStart);
  EXPECT_EQ(announcements.due(), kStart + milliseconds(250));
}

TEST(Announcements, AChangeOfLoadComesSoonerButNotMoreOftenThanEvery20Ms) {
  Announcements announcements;
  announcements.announced(kStart);
  announcements.changed();
  announcements.changed();
  EXPECT_EQ(announcements.due(), kStart + milliseconds(20));
  announcements.announced(kStart + milliseconds(20));
  EXPECT_EQ(announcements.due(), kStart + milliseconds(270));
}

TEST(Announcements, AChangeOfPhaseIsDueAtOnce) {
  Announcements announcements;
  announcements.announced(kStart);
  announcements.changed();
  announcements.changed_phase();
  EXPECT_LE(announcements.due(), kStart);
  announcements.announced(kStart);
  EXPECT_EQ(announcements.due(), kStart + milliseconds(250));
}

TEST(ReplicaState, SaysEverythingItIsGiven) {
  const Identity identity{.replica_id = "nano-1",
                          .epoch = 7,
                          .model = "nano",
                          .device = "cpu",
                          .host = "here",
                          .metrics_address = "127.0.0.1:9",
                          .started_unix_ms = 5};
  Condition condition{.phase = v1::REPLICA_PHASE_READY, .loading_progress = 1, .card_digest = "abc", .steps = 42};
  condition.capacity.set_kv_blocks_total(512);
  condition.load.set_running(3);
  v1::Rates rates;
  rates.set_decode_tokens_per_s(11);
  const v1::ReplicaState state = make_state(identity, condition, rates, 99);
  EXPECT_EQ(state.replica_id(), "nano-1");
  EXPECT_EQ(state.epoch(), 7u);
  EXPECT_EQ(state.model(), "nano");
  EXPECT_EQ(state.card_digest(), "abc");
  EXPECT_EQ(state.phase(), v1::REPLICA_PHASE_READY);
  EXPECT_EQ(state.loading_progress(), 1);
  EXPECT_EQ(state.capacity().kv_blocks_total(), 512u);
  EXPECT_EQ(state.load().running(), 3u);
  EXPECT_EQ(state.rates().decode_tokens_per_s(), 11);
  EXPECT_EQ(state.sequence(), 99u);
  EXPECT_EQ(state.metrics_address(), "127.0.0.1:9");
  EXPECT_EQ(state.version(), BELLWETHER_VERSION);
  EXPECT_EQ(state.started_unix_ms(), 5u);
  ASSERT_EQ(state.ranks_size(), 1);
  EXPECT_EQ(state.ranks(0).rank(), 0u);
  EXPECT_EQ(state.ranks(0).host(), "here");
  EXPECT_EQ(state.ranks(0).device(), "cpu");
  EXPECT_EQ(state.ranks(0).steps(), 42u);
  EXPECT_TRUE(state.ranks(0).healthy());
}

TEST(ReplicaState, AFailedReplicaHasAnUnhealthyHeadAndAReason) {
  const Condition condition{.phase = v1::REPLICA_PHASE_FAILED, .failure = "out of memory"};
  const v1::ReplicaState state = make_state({}, condition, {}, 1);
  EXPECT_EQ(state.failure(), "out of memory");
  EXPECT_FALSE(state.ranks(0).healthy());
}

TEST(Rates, AreZeroBeforeTheFirstStep) {
  EXPECT_EQ(Rates().now(kStart).decode_tokens_per_s(), 0);
  EXPECT_EQ(Rates().now(kStart).prefill_tokens_per_s(), 0);
}

TEST(Rates, CountTokensOverTheTimeThatPassed) {
  Rates rates;
  for (int i = 0; i < 40; ++i) rates.add(kStart + milliseconds(50 * i), 10, 2);
  const v1::Rates now = rates.now(kStart + milliseconds(2000));
  EXPECT_DOUBLE_EQ(now.prefill_tokens_per_s(), 200);
  EXPECT_DOUBLE_EQ(now.decode_tokens_per_s(), 40);
}

TEST(Rates, ForgetWhatIsOlderThanTheWindow) {
  Rates rates;
  rates.add(kStart, 1'000'000, 0);
  for (int i = 0; i < 100; ++i) rates.add(kStart + milliseconds(10'000 + 50 * i), 0, 3);
  const v1::Rates now = rates.now(kStart + milliseconds(15'000));
  EXPECT_EQ(now.prefill_tokens_per_s(), 0);
  EXPECT_NEAR(now.decode_tokens_per_s(), 60, 60 * 0.06);  // a slot of 250 ms falls out of the window of 5 s at once
  EXPECT_EQ(rates.now(kStart + milliseconds(30'000)).decode_tokens_per_s(), 0);
}

}  // namespace
}  // namespace bellwether::worker
