// A replica of two ranks that loses one. Each test has a mesh of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json/value.hpp>

#include "bellwether/v1/mesh.pb.h"
#include "e2e/disturbed_stream.h"
#include "e2e/http_client.h"
#include "e2e/mesh_process.h"
#include "e2e/reference.h"
#include "mesh/bus.h"
#include "mesh/subjects.h"

namespace bellwether::e2e {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using ::testing::HasSubstr;

constexpr int kTokens = 1500;  // enough that no stream ends before it is disturbed
constexpr const char* kHead = "worker-1-rank-0";
constexpr const char* kFollower = "worker-1-rank-1";

// Hears the states of all heads, as a scheduler does.
class StateListener {
 public:
  explicit StateListener(const std::string& nats_url)
      : bus_(io_.get_executor(), {.url = nats_url, .client_name = "test", .credentials_file = {}}),
        states_(bus_.subscribe<v1::ReplicaState>(
            mesh::subjects::kAllReplicaStates,
            [this](const v1::ReplicaState& state, const mesh::BusMessage&) { hear(state); })),
        thread_([this] { io_.run(); }) {}
  ~StateListener() {
    io_.stop();
    thread_.join();
  }

  struct Heard {
    v1::ReplicaState state;
    Clock::time_point at;
  };

  // The first state that satisfies the condition, of all that were heard and, for a while, of those to come.
  template <class Condition>
  std::optional<Heard> first(Condition condition) {
    std::unique_lock lock(mutex_);
    size_t looked_at = 0;
    const auto found = [&] {
      while (looked_at < heard_.size() && !condition(heard_[looked_at].state)) ++looked_at;
      return looked_at < heard_.size();
    };
    return news_.wait_for(lock, kPatience, found) ? std::optional(heard_[looked_at]) : std::nullopt;
  }

 private:
  void hear(const v1::ReplicaState& state) {
    const std::lock_guard lock(mutex_);
    heard_.push_back({state, Clock::now()});
    news_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable news_;
  std::vector<Heard> heard_;
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{io_.get_executor()};
  mesh::Bus bus_;
  mesh::Subscription states_;
  std::thread thread_;
};

bool is_ready(const v1::ReplicaState& state) {
  return state.phase() == v1::REPLICA_PHASE_READY;
}
bool has_failed(const v1::ReplicaState& state) {
  return state.phase() == v1::REPLICA_PHASE_FAILED;
}

class RanksTest : public ::testing::Test {
 protected:
  std::string chat_url() { return mesh_.url() + "/v1/chat/completions"; }

  // The article's request, answered word for word.
  void expect_the_answer() {
    const ReferenceCase& article = reference_cases()[0];
    const Reply reply = http_post(chat_url(), article.request(false));
    ASSERT_EQ(reply.status, 200) << reply.body;
    const boost::json::value json = reply.json();
    EXPECT_EQ(json.at("choices").at(0).at("message").at("content"), boost::json::value(article.content));
    EXPECT_THAT(article.content, HasSubstr("Los Angeles Dodgers"));
  }

  // Hits the follower in the midst of a stream, which goes on once the replica is whole again, and the mesh hears soon that
  // the replica has failed, and why.
  void hit_follower(int signal_number, milliseconds noticed_within) {
    before_ = states_.first(&is_ready).value().state;
    Clock::time_point begin;
    const StreamedReply reply = stream_through(chat_url(), kTokens, [&] {
      begin = Clock::now();
      ASSERT_EQ(kill(mesh_.pid_of(kFollower), signal_number), 0);
      if (signal_number != SIGSTOP) return;
      EXPECT_TRUE(states_.first(&has_failed));
      ASSERT_EQ(kill(mesh_.pid_of(kFollower), SIGCONT), 0);
    });
    expect_undisturbed(reply);
    const auto failed = states_.first(&has_failed);
    ASSERT_TRUE(failed) << "nobody noticed";
    const auto took = std::chrono::duration_cast<milliseconds>(failed->at - begin);
    EXPECT_LE(took, noticed_within);
    RecordProperty("noticed_after_ms", static_cast<int>(took.count()));
    EXPECT_EQ(failed->state.epoch(), before_.epoch());
    EXPECT_THAT(failed->state.failure(), HasSubstr("rank 1"));
    EXPECT_TRUE(states_.first([](const v1::ReplicaState& state) {
      return has_failed(state) && state.ranks_size() == 2 && state.ranks(0).healthy() && !state.ranks(1).healthy();
    }));
  }

  void expect_undisturbed(const StreamedReply& reply) {
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.error, "");
    EXPECT_TRUE(reply.done);
    const StreamedReply alone = http_stream(chat_url(), endless_request(reference_cases()[0], kTokens));
    EXPECT_EQ(reply.reasoning, alone.reasoning);
    EXPECT_EQ(reply.content, alone.content);
  }

  void expect_it_heals() {
    EXPECT_TRUE(states_.first([&](const v1::ReplicaState& state) {
      return is_ready(state) && state.epoch() > before_.epoch() && state.ranks_size() == 2 && state.ranks(1).healthy();
    }));
    EXPECT_TRUE(eventually([&] { return http_post(chat_url(), reference_cases()[0].request(false)).status == 200; },
                           kPatience));
    expect_the_answer();
    const auto processes = descendants_of(mesh_.up().pid());
    EXPECT_EQ(mesh_.stop(), 0) << mesh_.up().output();
    EXPECT_TRUE(all_end(processes, milliseconds(0)));
  }

  MeshProcess mesh_{std::vector<std::string>{"--ranks", "2"}};
  StateListener states_{mesh_.nats_url()};
  v1::ReplicaState before_;
};

TEST_F(RanksTest, AnswerTogether) {
  expect_the_answer();
  EXPECT_TRUE(states_.first([](const v1::ReplicaState& state) {
    return state.ranks_size() == 2 && state.ranks(0).steps() > 0 && state.ranks(1).steps() > 0;
  })) << "both have computed";
  const auto status = mesh_.run_command({"status"});
  EXPECT_THAT(status.output, HasSubstr("2/2"));
}

TEST_F(RanksTest, AKilledFollowerIsReplacedAndItsStreamsGoOn) {
  hit_follower(SIGKILL, milliseconds(1000));
  EXPECT_TRUE(mesh_.up().wait_for_line(std::string(kFollower) + " was started again", kPatience));
  expect_it_heals();
}

TEST_F(RanksTest, AStoppedFollowerIsNoticedAndComesBack) {
  // A second from its last sign of life, of which there are four a second.
  hit_follower(SIGSTOP, milliseconds(1250));
  expect_it_heals();
}

TEST_F(RanksTest, AFollowerToldToStopLeavesInOrder) {
  hit_follower(SIGTERM, milliseconds(1000));
  EXPECT_TRUE(mesh_.up().wait_for_line(std::string(kFollower) + " ended with status 0", kPatience));
  expect_it_heals();
}

TEST_F(RanksTest, FollowersJoinAHeadThatWasStartedAgain) {
  before_ = states_.first(&is_ready).value().state;
  const pid_t follower = mesh_.pid_of(kFollower);
  const StreamedReply reply = stream_through(chat_url(), kTokens, [&] {
    ASSERT_EQ(kill(mesh_.pid_of(kHead), SIGKILL), 0);
    EXPECT_TRUE(mesh_.up().wait_for_line(std::string(kHead) + " was started again", kPatience));
  });
  expect_undisturbed(reply);
  ASSERT_TRUE(states_.first(
      [&](const v1::ReplicaState& state) { return is_ready(state) && state.replica_id() != before_.replica_id(); }));
  EXPECT_EQ(kill(follower, 0), 0) << "it keeps its weights";
  expect_it_heals();
}

}  // namespace
}  // namespace bellwether::e2e
