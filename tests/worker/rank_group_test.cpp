#include "worker/rank_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace bellwether::worker {
namespace {

using std::chrono::milliseconds;
using Code = JoinRefusal::Code;
using Phase = RankGroup::Phase;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr milliseconds kStall{1000};

v1::Hello hello_of(uint32_t rank, uint32_t ranks = 3) {
  v1::Hello hello;
  hello.set_rank(rank);
  hello.set_ranks(ranks);
  hello.set_host("host-" + std::to_string(rank));
  hello.set_pid(40 + rank);
  hello.set_version("1.0");
  hello.set_config_digest("abc");
  return hello;
}

v1::RankReport report_of(v1::RankPhase phase, uint64_t steps = 0) {
  v1::RankReport report;
  report.set_phase(phase);
  report.set_steps(steps);
  if (phase != v1::RANK_PHASE_LOADING) report.set_transport_address("address");
  return report;
}

class RankGroupTest : public ::testing::Test {
 protected:
  // Two followers, ids 11 and 12.
  void join_both() {
    EXPECT_EQ(group_.join(11, hello_of(1)).code, Code::kNone);
    EXPECT_EQ(group_.join(12, hello_of(2)).code, Code::kNone);
  }
  void both(v1::RankPhase phase) {
    EXPECT_EQ(group_.report(11, report_of(phase)), "");
    EXPECT_EQ(group_.report(12, report_of(phase)), "");
  }
  void run_both() {
    join_both();
    both(v1::RANK_PHASE_LOADED);
    group_.start();
    both(v1::RANK_PHASE_RUNNING);
    group_.run();
  }
  Code refusal(const v1::Hello& hello) {
    const JoinRefusal refusal = group_.join(99, hello);
    EXPECT_EQ(refusal.message.empty(), refusal.code == Code::kNone);
    return refusal.code;
  }

  mesh::TimePoint now_{std::chrono::hours(1)};
  RankGroup group_{{.ranks = 3, .version = "1.0", .config_digest = "abc", .stall_limit = kStall},
                   [this] { return now_; }};
};

TEST_F(RankGroupTest, StartsWhenEveryRankIsLoadedAndRunsWhenEveryRankRuns) {
  EXPECT_EQ(group_.loading_progress(), 0);
  EXPECT_EQ(group_.join(11, hello_of(1)).code, Code::kNone);
  EXPECT_EQ(group_.report(11, report_of(v1::RANK_PHASE_LOADED)), "");
  EXPECT_FALSE(group_.all_joined());
  EXPECT_FALSE(group_.all_loaded());
  EXPECT_EQ(group_.join(12, hello_of(2)).code, Code::kNone);
  EXPECT_TRUE(group_.all_joined());
  EXPECT_FALSE(group_.all_loaded()) << "it has not reported yet";
  v1::RankReport half = report_of(v1::RANK_PHASE_LOADING);
  half.set_loading_progress(0.5);
  EXPECT_EQ(group_.report(12, half), "");
  EXPECT_EQ(group_.loading_progress(), 0.5);
  v1::RankReport loaded = report_of(v1::RANK_PHASE_LOADED);
  loaded.set_transport_address("second");
  EXPECT_EQ(group_.report(12, loaded), "");
  ASSERT_TRUE(group_.all_loaded());
  EXPECT_THAT(group_.transport_addresses(), ElementsAre("address", "second"));
  group_.start();
  EXPECT_FALSE(group_.all_running());
  both(v1::RANK_PHASE_RUNNING);
  EXPECT_TRUE(group_.all_running());
  group_.run();
  EXPECT_EQ(group_.phase(), Phase::kRunning);
  EXPECT_EQ(group_.fault(true), "");
}

TEST_F(RankGroupTest, RefusesWhoNeverFits) {
  EXPECT_EQ(refusal(hello_of(0)), Code::kNeverFits);
  EXPECT_EQ(refusal(hello_of(3)), Code::kNeverFits);
  EXPECT_EQ(refusal(hello_of(1, 4)), Code::kNeverFits);
  v1::Hello hello = hello_of(1);
  hello.set_config_digest("another");
  EXPECT_EQ(refusal(hello), Code::kNeverFits);
  hello = hello_of(1);
  hello.set_synthetic_weights(true);
  EXPECT_EQ(refusal(hello), Code::kNeverFits);
  hello = hello_of(1);
  hello.set_host(std::string(kHelloTextBytesMax + 1, 'h'));
  EXPECT_EQ(refusal(hello), Code::kNeverFits);
  EXPECT_TRUE(group_.followers().empty());
}

TEST_F(RankGroupTest, RefusesForNowAnotherVersionAndATakenPlace) {
  v1::Hello hello = hello_of(1);
  hello.set_version("2.0");
  EXPECT_EQ(refusal(hello), Code::kOtherVersion);
  join_both();
  EXPECT_EQ(refusal(hello_of(1)), Code::kTaken);
  group_.leave(11, "gone");
  EXPECT_EQ(refusal(hello_of(1)), Code::kNone);
}

TEST_F(RankGroupTest, NobodyJoinsAGroupAtWork) {
  run_both();
  group_.leave(11, "gone");
  EXPECT_EQ(refusal(hello_of(1)), Code::kTaken);
  group_.disband();
  EXPECT_EQ(refusal(hello_of(1)), Code::kNone);
}

TEST_F(RankGroupTest, ARankThatLeavesBeforeTheStartIsNoFault) {
  join_both();
  both(v1::RANK_PHASE_LOADED);
  group_.leave(11, "gone");
  EXPECT_EQ(group_.fault(false), "");
  EXPECT_FALSE(group_.all_loaded());
  EXPECT_EQ(refusal(hello_of(1)), Code::kNone);
  EXPECT_FALSE(group_.all_loaded()) << "a new one has to load first";
}

TEST_F(RankGroupTest, ARankThatLeavesAGroupAtWorkBreaksIt) {
  run_both();
  group_.leave(12, "its connection ended");
  EXPECT_THAT(group_.fault(false), HasSubstr("rank 2 (host-2, pid 42)"));
  EXPECT_THAT(group_.fault(false), HasSubstr("its connection ended"));
  const auto health = group_.health();
  ASSERT_EQ(health.size(), 2u);
  EXPECT_TRUE(health[0].healthy());
  EXPECT_FALSE(health[1].healthy());
  EXPECT_EQ(health[1].host(), "host-2");
  group_.disband();
  EXPECT_EQ(group_.fault(false), "");
  EXPECT_EQ(group_.phase(), Phase::kGathering);
  EXPECT_FALSE(group_.is_member(11));
}

TEST_F(RankGroupTest, ASilentRankIsStuckSoonerWhileThereIsWork) {
  run_both();
  now_ += kStall - milliseconds(1);
  EXPECT_EQ(group_.report(11, report_of(v1::RANK_PHASE_RUNNING, 7)), "");
  EXPECT_EQ(group_.fault(true), "");
  EXPECT_EQ(group_.fault_due(true), now_ + milliseconds(1));
  now_ += milliseconds(1);
  EXPECT_THAT(group_.fault(true), HasSubstr("rank 2"));
  EXPECT_EQ(group_.fault(false), "");
  EXPECT_EQ(group_.fault_due(false), now_ - kStall + kSilenceMax);
  EXPECT_EQ(group_.health()[0].steps(), 7u);
  EXPECT_TRUE(group_.health()[0].healthy());
  EXPECT_FALSE(group_.health()[1].healthy());
  now_ += kSilenceMax - kStall;
  EXPECT_THAT(group_.fault(false), HasSubstr("rank 2"));
  group_.excuse_silence();
  EXPECT_EQ(group_.fault(true), "");
}

TEST_F(RankGroupTest, AStartThatTakesTooLongIsAFaultOfTheRankThatDoesNotRun) {
  join_both();
  both(v1::RANK_PHASE_LOADED);
  group_.start();
  EXPECT_EQ(group_.fault_due(false), now_ + kSilenceMax);
  EXPECT_EQ(group_.report(11, report_of(v1::RANK_PHASE_RUNNING)), "");
  now_ += kStartTimeMax - milliseconds(1);
  group_.excuse_silence();
  EXPECT_EQ(group_.fault(false), "");
  now_ += milliseconds(1);
  EXPECT_THAT(group_.fault(false), HasSubstr("rank 2"));
}

TEST_F(RankGroupTest, WrongReportsAreNamedAndChangeNothing) {
  join_both();
  v1::RankReport wrong = report_of(v1::RANK_PHASE_LOADED);
  wrong.clear_transport_address();
  EXPECT_THAT(group_.report(11, wrong), HasSubstr("transport_address"));
  wrong.set_transport_address(std::string(kTransportAddressBytesMax + 1, 'a'));
  EXPECT_THAT(group_.report(11, wrong), HasSubstr("transport_address"));
  EXPECT_THAT(group_.report(11, report_of(v1::RANK_PHASE_UNSPECIFIED)), HasSubstr("phase"));
  EXPECT_THAT(group_.report(11, report_of(static_cast<v1::RankPhase>(77))), HasSubstr("phase"));
  EXPECT_THAT(group_.report(11, report_of(v1::RANK_PHASE_RUNNING)), HasSubstr("before the start"));
  wrong = report_of(v1::RANK_PHASE_LOADING);
  for (const float progress : {-0.1F, 1.1F, NAN}) {
    wrong.set_loading_progress(progress);
    EXPECT_THAT(group_.report(11, wrong), HasSubstr("loading_progress"));
  }
  EXPECT_FALSE(group_.all_loaded());
  both(v1::RANK_PHASE_LOADED);
  group_.start();
  both(v1::RANK_PHASE_RUNNING);
  EXPECT_THAT(group_.report(11, report_of(v1::RANK_PHASE_LOADED)), HasSubstr("no longer"));
}

TEST(RankGroupOfOne, IsCompleteByItself) {
  RankGroup group({.ranks = 1}, [] { return mesh::TimePoint(); });
  EXPECT_TRUE(group.all_running());
  EXPECT_EQ(group.loading_progress(), 1);
  EXPECT_EQ(group.fault_due(true), mesh::TimePoint::max());
  EXPECT_FALSE(group.is_member(0));
}

}  // namespace
}  // namespace bellwether::worker
