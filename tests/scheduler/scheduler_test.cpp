// The scheduler on a real nats-server, with heads that speak the real protocol.
#include "scheduler/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "mesh/nats_server.h"
#include "scheduler/scripted_head.h"

namespace bellwether::scheduler {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ScriptedHead;
using Manner = ScriptedHead::Manner;

struct RunningScheduler {
  RunningScheduler(boost::asio::io_context& io, const std::string& url)
      : bus(io.get_executor(), testing::bus_options(url, "scheduler")),
        scheduler(io, bus, registry, {.work_timeout_ms = 200}, [this] { ready = true; }) {}

  [[nodiscard]] uint64_t requests_in_view() const {
    uint64_t sum = 0;
    for (const ReplicaView& head : scheduler.replicas().view("nano")) sum += head.requests;
    return sum;
  }

  bool ready = false;
  prometheus::Registry registry;
  mesh::Bus bus;
  Scheduler scheduler;
};

class SchedulerTest : public ::testing::Test {
 protected:
  ~SchedulerTest() override {
    for (auto& scheduler : schedulers_) {
      await(scheduler->scheduler.stop());
      await(scheduler->bus.stop());
    }
    for (auto& head : heads_) await(head->stop());
    await(gateway_.stop());
  }

  void await(boost::asio::awaitable<void> task) {
    bool done = false;
    boost::asio::co_spawn(io_, std::move(task), [&](const std::exception_ptr&) { done = true; });
    run_until([&] { return done; });
  }

  // Runs everything until `condition` holds; fails the test when it does not within `limit`.
  void run_until(const std::function<bool()>& condition, milliseconds limit = seconds(20)) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "waited too long";
      io_.run_one_for(milliseconds(50));
    }
  }

  void start(int schedulers, const std::vector<std::string>& heads) {
    for (const std::string& id : heads) {
      heads_.push_back(std::make_unique<ScriptedHead>(io_, nats_.url(), id, "nano"));
    }
    for (int i = 0; i < schedulers; ++i) schedulers_.push_back(std::make_unique<RunningScheduler>(io_, nats_.url()));
    run_until([&] {
      return std::all_of(schedulers_.begin(), schedulers_.end(), [&](const auto& running) {
        return running->ready && running->scheduler.replicas().view("nano").size() == heads_.size();
      });
    });
  }

  // Sends a request and does not wait for its answer, which comes into replies_.
  void send(const std::string& request_id, const std::string& model = "nano") {
    boost::asio::co_spawn(io_, answer_to(request_id, model), boost::asio::detached);
  }

  boost::asio::awaitable<void> answer_to(std::string request_id, std::string model) {
    v1::GenerateRequest request;
    request.set_request_id(request_id);
    request.set_attempt(1);
    request.set_model(model);
    request.set_gateway_id("gateway");
    request.add_prompt_ids(1);
    request.set_max_tokens(10);
    try {
      auto reply = co_await gateway_.request<v1::GenerateReply>(mesh::subjects::request(model), request, seconds(10));
      replies_[request_id] = std::move(reply);
    } catch (const mesh::Error& error) {
      ADD_FAILURE() << request_id << ": " << error.what();
    }
  }

  v1::GenerateReply place(const std::string& request_id, const std::string& model = "nano") {
    send(request_id, model);
    run_until([&] { return replies_.contains(request_id); });
    return replies_[request_id];
  }

  ScriptedHead& head(const std::string& id) {
    return **std::find_if(heads_.begin(), heads_.end(), [&](const auto& head) { return head->id() == id; });
  }

  [[nodiscard]] size_t held_by_all() const {
    size_t sum = 0;
    for (const auto& head : heads_) sum += head->held.size();
    return sum;
  }

  void finish_all() {
    for (auto& head : heads_) head->finish_all();
    run_until([&] {
      return std::all_of(schedulers_.begin(), schedulers_.end(), [](const auto& running) {
        return running->scheduler.replicas().reservations() == 0 && running->requests_in_view() == 0;
      });
    });
  }

  void expect_even_burst(int requests) {
    replies_.clear();
    ++bursts_;
    for (int i = 0; i < requests; ++i) send("burst-" + std::to_string(bursts_) + "-" + std::to_string(i));
    run_until([&] { return replies_.size() == static_cast<size_t>(requests); });
    std::vector<size_t> held;
    for (const auto& head : heads_) held.push_back(head->held.size());
    const auto [fewest, most] = std::minmax_element(held.begin(), held.end());
    EXPECT_EQ(held_by_all(), requests);
    EXPECT_LE(*most - *fewest, 1) << ::testing::PrintToString(held);
  }

  testing::NatsServer nats_;
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> busy_{io_.get_executor()};
  mesh::Bus gateway_{io_.get_executor(), testing::bus_options(nats_.url(), "gateway")};
  std::vector<std::unique_ptr<ScriptedHead>> heads_;
  std::vector<std::unique_ptr<RunningScheduler>> schedulers_;
  std::map<std::string, v1::GenerateReply> replies_;
  int bursts_ = 0;
};

TEST_F(SchedulerTest, SpreadsABurstEvenly) {
  start(1, {"a", "b", "c"});
  expect_even_burst(200);
  finish_all();
  expect_even_burst(200);
}

TEST_F(SchedulerTest, TwoSchedulersSpreadABurstEvenly) {
  start(2, {"a", "b", "c"});
  std::set<std::string> heard;
  const auto spy = gateway_.subscribe<v1::Dispatch>(mesh::subjects::kDispatch,
                                                    [&](const v1::Dispatch& event, const mesh::BusMessage&) {
                                                      if (event.kind() == v1::Dispatch::RESERVE)
                                                        heard.insert(event.scheduler_id());
                                                    });
  // Until each has placed something they do not know of each other.
  for (int i = 0; heard.size() < 2; ++i) {
    ASSERT_LT(i, 200);
    ASSERT_TRUE(place("first-" + std::to_string(i)).has_placed());
  }
  for (int round = 0; round < 3; ++round) {
    finish_all();
    expect_even_burst(200);
  }
}

TEST_F(SchedulerTest, AHeadThatStopsItsHeartbeatsIsNotChosenAfterASecond) {
  start(1, {"a", "b"});
  head("a").fall_silent();
  run_until([&] { return schedulers_[0]->scheduler.replicas().view("nano").size() == 1; }, milliseconds(1500));
  for (int i = 0; i < 4; ++i) {
    const auto reply = place("r" + std::to_string(i));
    ASSERT_TRUE(reply.has_placed());
    EXPECT_EQ(reply.placed().replica_id(), "b");
  }
  EXPECT_TRUE(head("a").offered.empty());
}

TEST_F(SchedulerTest, ARefusedRequestGoesToTheNextHead) {
  start(1, {"a", "b"});
  head("a").manner = Manner::kDraining;
  const auto reply = place("r");
  ASSERT_TRUE(reply.has_placed());
  EXPECT_EQ(reply.placed().replica_id(), "b");
  EXPECT_EQ(head("a").offered.size(), 1);
  EXPECT_EQ(schedulers_[0]->scheduler.replicas().reservations(), 1);
}

TEST_F(SchedulerTest, ASilentHeadIsCancelledAndTheNextOneTried) {
  start(1, {"a", "b"});
  head("a").manner = Manner::kSilent;
  const auto reply = place("r");
  ASSERT_TRUE(reply.has_placed());
  EXPECT_EQ(reply.placed().replica_id(), "b");
  run_until([&] { return head("a").cancelled == std::vector<std::string>{"r"}; });
}

TEST_F(SchedulerTest, AHeadThatIsNotOnTheBusIsPassedOverAtOnce) {
  start(1, {"a", "b"});
  await(head("a").stop());
  const auto began = std::chrono::steady_clock::now();
  const auto reply = place("r");
  ASSERT_TRUE(reply.has_placed());
  EXPECT_EQ(reply.placed().replica_id(), "b");
  EXPECT_LT(std::chrono::steady_clock::now() - began, milliseconds(150));
}

TEST_F(SchedulerTest, TriesThreeHeadsAndNoneTwice) {
  start(1, {"a", "b", "c", "d"});
  for (auto& head : heads_) head->manner = Manner::kOverloaded;
  const auto reply = place("r");
  ASSERT_TRUE(reply.has_refused());
  EXPECT_EQ(reply.refused().code(), v1::REFUSAL_CODE_OVERLOADED);
  EXPECT_GT(reply.refused().retry_after_ms(), 0);
  size_t offers = 0;
  for (auto& head : heads_) {
    EXPECT_LE(head->offered.size(), 1);
    offers += head->offered.size();
  }
  EXPECT_EQ(offers, 3);
  EXPECT_EQ(schedulers_[0]->scheduler.replicas().reservations(), 0);
}

TEST_F(SchedulerTest, AnInvalidRequestIsPassedOnAtOnce) {
  start(1, {"a", "b"});
  for (auto& head : heads_) head->manner = Manner::kInvalid;
  const auto reply = place("r");
  ASSERT_TRUE(reply.has_refused());
  EXPECT_EQ(reply.refused().code(), v1::REFUSAL_CODE_INVALID);
  EXPECT_EQ(reply.refused().message(), "prompt too long");
  EXPECT_EQ(heads_[0]->offered.size() + heads_[1]->offered.size(), 1);
}

TEST_F(SchedulerTest, RefusesWithoutAHead) {
  start(1, {"a"});
  const auto reply = place("r", "another");
  ASSERT_TRUE(reply.has_refused());
  EXPECT_EQ(reply.refused().code(), v1::REFUSAL_CODE_NO_REPLICA);
  EXPECT_GT(reply.refused().retry_after_ms(), 0);
}

TEST_F(SchedulerTest, RefusesWhenEveryHeadIsFull) {
  start(1, {"a"});
  head("a").state().mutable_capacity()->set_sequences_max(2);
  head("a").state().mutable_capacity()->set_waiting_max(1);
  head("a").publish_state();
  run_until([&] { return schedulers_[0]->scheduler.replicas().view("nano").at(0).requests_max == 3; });
  for (int i = 0; i < 5; ++i) send("r" + std::to_string(i));
  run_until([&] { return replies_.size() == 5; });
  EXPECT_EQ(head("a").offered.size(), 3) << "a head is never offered more than it takes";
  EXPECT_EQ(std::count_if(replies_.begin(), replies_.end(),
                          [](const auto& entry) {
                            return entry.second.refused().code() == v1::REFUSAL_CODE_OVERLOADED &&
                                   entry.second.refused().retry_after_ms() > 0;
                          }),
            2);
  finish_all();
  EXPECT_TRUE(place("later").has_placed());
}

TEST_F(SchedulerTest, RefusesARequestWithoutAnId) {
  start(1, {"a"});
  EXPECT_EQ(place("").refused().code(), v1::REFUSAL_CODE_INVALID);
}

TEST_F(SchedulerTest, StopsAfterItHasAnsweredWhatItHas) {
  start(1, {"a", "b"});
  head("a").manner = Manner::kSilent;
  send("r");
  run_until([&] { return !head("a").offered.empty(); });
  await(schedulers_[0]->scheduler.stop());
  EXPECT_EQ(head("b").held.size(), 1) << "it has not waited for the request in hand";
  run_until([&] { return replies_.contains("r"); });
  EXPECT_TRUE(replies_["r"].has_placed());
}

TEST_F(SchedulerTest, ShowsItsMetrics) {
  start(1, {"a"});
  place("r1");
  place("r2", "made-up-name");
  const auto shows = [&](const std::string& line) {
    return mesh::render_metrics(schedulers_[0]->registry).find(line) != std::string::npos;
  };
  run_until([&] { return shows("bellwether_scheduler_reservations 1"); });
  EXPECT_TRUE(shows(R"(bellwether_scheduler_requests_total{model="nano",outcome="placed"} 1)"));
  EXPECT_TRUE(shows(R"(bellwether_scheduler_requests_total{model="unknown",outcome="no_replica"} 1)"));
  EXPECT_TRUE(shows(R"(bellwether_scheduler_replicas{model="nano",phase="ready"} 1)"));
  EXPECT_TRUE(shows("bellwether_scheduler_placement_seconds_count 2"));
}

}  // namespace
}  // namespace bellwether::scheduler
