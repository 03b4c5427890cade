// Schedulers on a real nats-server, with heads that speak the real protocol.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "mesh/nats_server.h"
#include "scheduler/scheduler.h"
#include "scheduler/scripted_head.h"

namespace bellwether::scheduler {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ScriptedHead;
using Manner = ScriptedHead::Manner;

struct RunningScheduler {
  RunningScheduler(boost::asio::io_context& io, const std::string& url, const SchedulerSettings& settings)
      : bus(io.get_executor(), testing::bus_options(url, "scheduler")),
        scheduler(io, bus, registry, tracer, settings, [this] { ready = true; }) {}

  [[nodiscard]] uint64_t requests_in_view() const {
    uint64_t sum = 0;
    for (const ReplicaView& head : scheduler.replicas().view("nano")) sum += head.requests;
    return sum;
  }

  bool ready = false;
  prometheus::Registry registry;
  std::shared_ptr<mesh::SpanBuffer> spans = std::make_shared<mesh::SpanBuffer>(100);
  mesh::Tracer tracer{spans, 1, 1};
  mesh::Bus bus;
  Scheduler scheduler;
};

class SchedulerTest : public ::testing::Test {
 protected:
  void TearDown() override {
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
    for (int i = 0; i < schedulers; ++i) {
      schedulers_.push_back(std::make_unique<RunningScheduler>(io_, nats_.url(), settings_));
    }
    run_until([&] {
      return std::all_of(schedulers_.begin(), schedulers_.end(), [&](const auto& running) {
        return running->ready && running->scheduler.replicas().view("nano").size() == heads_.size();
      });
    });
  }

  static v1::GenerateRequest make_request(const std::string& request_id, const std::string& model = "nano") {
    v1::GenerateRequest request;
    request.set_request_id(request_id);
    request.set_attempt(1);
    request.set_model(model);
    request.set_gateway_id("gateway");
    request.add_prompt_ids(1);
    request.set_max_tokens(10);
    return request;
  }

  // Sends a request and does not wait for its answer, which comes into replies_.
  void send(const std::string& request_id, const std::string& model = "nano") { send(make_request(request_id, model)); }
  void send(v1::GenerateRequest request) {
    boost::asio::co_spawn(io_, answer_to(std::move(request)), boost::asio::detached);
  }

  boost::asio::awaitable<void> answer_to(v1::GenerateRequest request) {
    try {
      auto reply =
          co_await gateway_.request<v1::GenerateReply>(mesh::subjects::request(request.model()), request, seconds(10));
      replies_[request.request_id()] = std::move(reply);
    } catch (const mesh::Error& error) {
      ADD_FAILURE() << request.request_id() << ": " << error.what();
    }
  }

  v1::GenerateReply place(const std::string& request_id, const std::string& model = "nano") {
    return place(make_request(request_id, model));
  }
  v1::GenerateReply place(v1::GenerateRequest request) {
    const std::string request_id = request.request_id();
    replies_.erase(request_id);
    send(std::move(request));
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
  SchedulerSettings settings_{.work_timeout_ms = 200, .queue_requests_max = 0};
  std::map<std::string, v1::GenerateReply> replies_;
  int bursts_ = 0;
};

}  // namespace bellwether::scheduler
