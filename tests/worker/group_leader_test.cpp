// A head's side of its group and its followers' links, over real gRPC.
#include "worker/group_leader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "mesh/grpc_server.h"
#include "worker/head_link.h"

namespace bellwether::worker {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Why = LinkEnd::Why;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr seconds kPatience{60};
constexpr uint64_t kEpochBefore = 7;

// A follower without an engine: what it hears, and how its stream ended.
struct ScriptedFollower {
  ScriptedFollower(asio::io_context& io, const std::string& head, const v1::Hello& hello) {
    link.emplace(io.get_executor(), head, hello,
                 HeadLinkHandlers{.on_message =
                                      [this](const v1::HeadMessage& message) {
                                        if (message.has_welcome()) welcome = message.welcome();
                                        if (message.has_start()) start = message.start();
                                        if (message.has_stop()) stopped = true;
                                        if (message.has_alive()) ++beats;
                                      },
                                  .on_end = [this](const LinkEnd& how) { end = how; }});
  }

  void report(v1::RankPhase phase) {
    v1::RankReport report;
    report.set_phase(phase);
    if (phase != v1::RANK_PHASE_LOADING) report.set_transport_address("follower");
    link->report(report);
  }

  std::optional<v1::GroupOptions> welcome;
  std::optional<v1::Start> start;
  std::optional<LinkEnd> end;
  bool stopped = false;
  int beats = 0;
  std::optional<HeadLink> link;
};

class GroupLeaderTest : public ::testing::Test {
 protected:
  GroupLeaderTest() {
    server_.add_service(leader_.grpc_service());
    server_.start();
  }
  ~GroupLeaderTest() override {
    followers_.clear();
    leader_.stop();
    server_.stop(milliseconds(1000));
  }

  template <class Condition>
  bool until(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!condition()) {
      if (io_.run_one_until(deadline) == 0) return false;
    }
    return true;
  }

  static v1::Hello hello(uint32_t rank = 1) {
    v1::Hello hello;
    hello.set_rank(rank);
    hello.set_ranks(2);
    hello.set_host("here");
    hello.set_version("1");
    hello.set_config_digest("d");
    return hello;
  }

  ScriptedFollower& add(const v1::Hello& hello) { return followers_.emplace_back(io_, server_.address(), hello); }

  // A follower of a running group.
  ScriptedFollower& run_group() {
    ScriptedFollower& follower = add(hello());
    EXPECT_TRUE(until([&] { return follower.welcome.has_value(); }));
    follower.report(v1::RANK_PHASE_LOADED);
    leader_.head_reachable("head");
    EXPECT_TRUE(until([&] { return follower.start.has_value(); }));
    follower.report(v1::RANK_PHASE_RUNNING);
    leader_.head_running(epochs_.back());
    EXPECT_TRUE(until([&] { return running_ > 0; }));
    return follower;
  }

  static v1::GroupOptions options() {
    v1::GroupOptions options;
    options.set_kv_blocks(512);
    return options;
  }

  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  std::vector<uint64_t> epochs_;
  std::vector<std::string> addresses_;
  int running_ = 0;
  std::vector<std::string> broken_;
  std::vector<v1::RankHealth> health_when_broken_;
  GroupLeader leader_{io_,
                      {.ranks = 2, .version = "1", .config_digest = "d", .stall_limit = milliseconds(500)},
                      options(),
                      kEpochBefore,
                      {.on_start =
                           [this](uint64_t epoch, std::vector<std::string> addresses) {
                             epochs_.push_back(epoch);
                             addresses_ = std::move(addresses);
                           },
                       .on_running = [this] { ++running_; },
                       .on_broken =
                           [this](const std::string& reason) {
                             broken_.push_back(reason);
                             health_when_broken_ = leader_.group().health();
                           },
                       .on_changed = [] {}}};
  mesh::GrpcServer server_{"127.0.0.1:0"};
  std::list<ScriptedFollower> followers_;
};

TEST_F(GroupLeaderTest, TellsFollowersWhatToLoadAndWhomToReach) {
  ScriptedFollower& follower = run_group();
  EXPECT_EQ(follower.welcome->kv_blocks(), 512u);
  EXPECT_GT(epochs_.at(0), kEpochBefore);
  EXPECT_EQ(follower.start->epoch(), epochs_.at(0));
  EXPECT_EQ(follower.start->stall_limit_ms(), 500u);
  EXPECT_THAT(addresses_, ElementsAre("head", "follower"));
  EXPECT_THAT(follower.start->transport_addresses(), ElementsAre("head", "follower"));
  const int beats = follower.beats;
  EXPECT_TRUE(until([&] {
    follower.report(v1::RANK_PHASE_RUNNING);
    return follower.beats > beats + 1;
  })) << "the head says that it lives";
}

TEST_F(GroupLeaderTest, DoesNotStartBeforeTheHeadIsLoaded) {
  ScriptedFollower& follower = add(hello());
  ASSERT_TRUE(until([&] { return follower.welcome.has_value(); }));
  follower.report(v1::RANK_PHASE_LOADED);
  ASSERT_TRUE(until([&] { return leader_.group().all_loaded(); }));
  EXPECT_TRUE(epochs_.empty());
  leader_.head_reachable("head");
  EXPECT_EQ(epochs_.size(), 1u);
}

TEST_F(GroupLeaderTest, SaysWhyItTurnsAwayAndWhetherToComeAgain) {
  v1::Hello other_version = hello();
  other_version.set_version("2");
  ScriptedFollower& other = add(other_version);
  ScriptedFollower& stray = add(hello(2));
  ASSERT_TRUE(until([&] { return other.end && stray.end; }));
  EXPECT_EQ(other.end->why, Why::kTurnedAway);
  EXPECT_THAT(other.end->message, HasSubstr("version"));
  EXPECT_EQ(stray.end->why, Why::kNeverFits);
  EXPECT_THAT(stray.end->message, HasSubstr("--rank"));
  ScriptedFollower& first = add(hello());
  ASSERT_TRUE(until([&] { return first.welcome.has_value(); }));
  ScriptedFollower& second = add(hello());
  ASSERT_TRUE(until([&] { return second.end.has_value(); }));
  EXPECT_EQ(second.end->why, Why::kTurnedAway);
  EXPECT_FALSE(first.end);
}

TEST_F(GroupLeaderTest, AFollowerThatGoesBreaksTheGroupWhichIsBuiltAgain) {
  run_group().link.reset();
  ASSERT_TRUE(until([&] { return !broken_.empty(); }));
  EXPECT_THAT(broken_.at(0), HasSubstr("rank 1 (here"));
  EXPECT_FALSE(health_when_broken_.at(0).healthy());
  running_ = 0;
  run_group();
  ASSERT_EQ(epochs_.size(), 2u);
  EXPECT_GT(epochs_[1], epochs_[0]);
  EXPECT_EQ(broken_.size(), 1u);
}

TEST_F(GroupLeaderTest, ASilentFollowerBreaksAGroupThatHasWork) {
  ScriptedFollower& follower = run_group();
  const auto begin = std::chrono::steady_clock::now();
  leader_.set_has_work(true);
  ASSERT_TRUE(until([&] { return !broken_.empty(); }));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(2));
  EXPECT_THAT(broken_.at(0), HasSubstr("silent"));
  ASSERT_TRUE(until([&] { return follower.end.has_value(); }));
  EXPECT_EQ(follower.end->why, Why::kBroken);
  EXPECT_THAT(follower.end->message, HasSubstr("silent"));
}

TEST_F(GroupLeaderTest, AHeadThatLosesItsGroupSendsItsFollowersToJoinAgain) {
  ScriptedFollower& follower = run_group();
  leader_.head_left(epochs_[0] - 1, "an older group");
  EXPECT_TRUE(broken_.empty());
  leader_.head_left(epochs_[0], "rank 1 does not advance");
  EXPECT_THAT(broken_, ElementsAre("rank 1 does not advance"));
  ASSERT_TRUE(until([&] { return follower.end.has_value(); }));
  EXPECT_EQ(follower.end->why, Why::kBroken);
  EXPECT_FALSE(follower.stopped);
}

TEST_F(GroupLeaderTest, WhoSpeaksOutOfTurnIsEnded) {
  ScriptedFollower& follower = run_group();
  follower.report(v1::RANK_PHASE_LOADING);
  ASSERT_TRUE(until([&] { return follower.end.has_value(); }));
  EXPECT_EQ(broken_.size(), 1u);
}

TEST_F(GroupLeaderTest, StoppingTellsFollowersToStopAndTakesNoMore) {
  ScriptedFollower& follower = run_group();
  leader_.stop();
  ASSERT_TRUE(until([&] { return follower.end.has_value(); }));
  EXPECT_TRUE(follower.stopped);
  EXPECT_TRUE(broken_.empty());
  ScriptedFollower& late = add(hello());
  ASSERT_TRUE(until([&] { return late.end.has_value(); }));
  EXPECT_FALSE(late.welcome);
}

TEST_F(GroupLeaderTest, TheServersEndIsTheEndOfTheLink) {
  ScriptedFollower& follower = run_group();
  server_.stop(milliseconds(0));
  ASSERT_TRUE(until([&] { return follower.end.has_value(); }));
  EXPECT_EQ(follower.end->why, Why::kBroken);
  ScriptedFollower& late = add(hello());
  ASSERT_TRUE(until([&] { return late.end.has_value(); }));
  EXPECT_EQ(late.end->why, Why::kBroken);
}

}  // namespace
}  // namespace bellwether::worker
