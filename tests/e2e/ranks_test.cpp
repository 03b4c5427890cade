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

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

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

constexpr int kTokens = 7000;  // as long as a context holds: no stream ends by itself
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

  // The first state from now on, or the last so far, that satisfies the condition.
  template <class Condition>
  std::optional<v1::ReplicaState> wait_for(Condition condition) {
    std::unique_lock lock(mutex_);
    const bool met = heard_.wait_for(lock, kPatience, [&] { return last_ && condition(*last_); });
    return met ? last_ : std::nullopt;
  }

  std::optional<v1::ReplicaState> wait_for_phase(v1::ReplicaPhase phase) {
    return wait_for([phase](const v1::ReplicaState& state) { return state.phase() == phase; });
  }

 private:
  void hear(const v1::ReplicaState& state) {
    const std::lock_guard lock(mutex_);
    last_ = state;
    heard_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable heard_;
  std::optional<v1::ReplicaState> last_;
  boost::asio::io_context io_;
  mesh::Bus bus_;
  mesh::Subscription states_;
  std::thread thread_;
};

class RanksTest : public ::testing::Test {
 protected:
  std::string chat_url() { return mesh_.url() + "/v1/chat/completions"; }

  // The article's request, answered word for word.
  void expect_the_answer() {
    const ReferenceCase& article = reference_cases()[0];
    const Reply reply = http_post(chat_url(), article.request(false));
    ASSERT_EQ(reply.status, 200) << reply.body;
    const auto& message = reply.json().at("choices").at(0).at("message");
    EXPECT_EQ(message.at("content"), article.content);
    EXPECT_THAT(article.content, HasSubstr("Los Angeles Dodgers"));
  }

  // Streams, hits a rank in the midst of it, and waits until the replica is known as failed.
  StreamedReply hit(const std::string& rank, int signal_number, milliseconds noticed_within) {
    before_ = *states_.wait_for_phase(v1::REPLICA_PHASE_READY);
    return stream_through(chat_url(), kTokens, [&] {
      const auto begin = Clock::now();
      ASSERT_EQ(kill(mesh_.pid_of(rank), signal_number), 0);
      const auto failed = states_.wait_for_phase(v1::REPLICA_PHASE_FAILED);
      const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
      ASSERT_TRUE(failed) << "nobody noticed";
      EXPECT_LE(took, noticed_within);
      RecordProperty("noticed_after_ms", static_cast<int>(took.count()));
      EXPECT_EQ(failed->epoch(), before_.epoch());
      EXPECT_THAT(failed->failure(), HasSubstr("rank 1"));
      ASSERT_EQ(failed->ranks_size(), 2);
      EXPECT_TRUE(failed->ranks(0).healthy());
      EXPECT_FALSE(failed->ranks(1).healthy());
    });
  }

  void expect_it_heals() {
    const auto ready = states_.wait_for([&](const v1::ReplicaState& state) {
      return state.phase() == v1::REPLICA_PHASE_READY && state.epoch() > before_.epoch();
    });
    ASSERT_TRUE(ready);
    EXPECT_EQ(ready->ranks_size(), 2);
    EXPECT_TRUE(ready->ranks(1).healthy());
    EXPECT_TRUE(eventually([&] { return http_post(chat_url(), reference_cases()[0].request(false)).status == 200; },
                           kPatience));
    expect_the_answer();
    const auto processes = descendants_of(mesh_.up().pid());
    EXPECT_EQ(mesh_.stop(), 0) << mesh_.up().output();
    EXPECT_TRUE(all_end(processes, milliseconds(0)));
  }

  MeshProcess mesh_{{"--ranks", "2"}};
  StateListener states_{mesh_.nats_url()};
  v1::ReplicaState before_;
};

void expect_clean_error(const StreamedReply& reply) {
  EXPECT_EQ(reply.status, 200);
  EXPECT_NE(reply.error, "");
  EXPECT_THAT(reply.error, HasSubstr("rank 1"));
}

TEST_F(RanksTest, AnswerTogether) {
  expect_the_answer();
  const auto ready = states_.wait_for([](const v1::ReplicaState& state) {
    return state.ranks_size() == 2 && state.ranks(0).steps() > 0 && state.ranks(1).steps() > 0;
  });
  EXPECT_TRUE(ready) << "both have computed";
  const auto status = mesh_.run_command({"status"});
  EXPECT_THAT(status.output, HasSubstr("2/2"));
}

TEST_F(RanksTest, AKilledFollowerEndsItsStreamsAndIsReplaced) {
  expect_clean_error(hit(kFollower, SIGKILL, milliseconds(1000)));
  EXPECT_TRUE(mesh_.up().wait_for_line(std::string(kFollower) + " was started again", kPatience));
  expect_it_heals();
}

TEST_F(RanksTest, AStoppedFollowerIsNoticedAndComesBack) {
  // From its last sign of life, which may be a report's interval old, it has a second.
  expect_clean_error(hit(kFollower, SIGSTOP, milliseconds(1250)));
  const auto still = states_.wait_for_phase(v1::REPLICA_PHASE_FAILED);
  ASSERT_TRUE(still) << "without it there is no group";
  ASSERT_EQ(kill(mesh_.pid_of(kFollower), SIGCONT), 0);
  expect_it_heals();
}

TEST_F(RanksTest, AFollowerToldToStopLeavesInOrder) {
  expect_clean_error(hit(kFollower, SIGTERM, milliseconds(1000)));
  EXPECT_TRUE(mesh_.up().wait_for_line(std::string(kFollower) + " ended with status 0", kPatience));
  expect_it_heals();
}

TEST_F(RanksTest, FollowersJoinAHeadThatWasStartedAgain) {
  before_ = *states_.wait_for_phase(v1::REPLICA_PHASE_READY);
  const pid_t follower = mesh_.pid_of(kFollower);
  const StreamedReply reply = stream_through(chat_url(), kTokens, [&] {
    ASSERT_EQ(kill(mesh_.pid_of(kHead), SIGKILL), 0);
    EXPECT_TRUE(mesh_.up().wait_for_line(std::string(kHead) + " was started again", kPatience));
  });
  EXPECT_NE(reply.error, "");
  const auto ready = states_.wait_for([&](const v1::ReplicaState& state) {
    return state.phase() == v1::REPLICA_PHASE_READY && state.replica_id() != before_.replica_id();
  });
  ASSERT_TRUE(ready);
  EXPECT_EQ(kill(follower, 0), 0) << "it keeps its weights";
  expect_it_heals();
}

}  // namespace
}  // namespace bellwether::e2e
