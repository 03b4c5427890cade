// Requests that wait at a scheduler, on a real bus.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "mesh/clock.h"
#include "scheduler/scheduler_fixture.h"

namespace bellwether::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SchedulerQueueTest : public SchedulerTest {
 protected:
  SchedulerQueueTest() {
    settings_.head_waiting_max = 0;
    settings_.queue_requests_max = 8;
  }

  // One scheduler and one head "a", which runs `sequences_max` requests at once and no more.
  void start_small(uint32_t sequences_max = 1) {
    start(1, {"a"});
    head("a").state().mutable_capacity()->set_sequences_max(sequences_max);
    head("a").publish_state();
    run_until([&] { return scheduler().replicas().view("nano").at(0).requests_max == sequences_max; });
  }

  Scheduler& scheduler() { return schedulers_[0]->scheduler; }

  void TearDown() override {
    ending_ = true;
    SchedulerTest::TearDown();
  }

  // As a gateway does: asks, and polls until there is an outcome, which comes into replies_. Returns when the first
  // poll has reached the scheduler.
  void submit(const v1::GenerateRequest& request) {
    ASSERT_TRUE(place(request).has_queued()) << request.request_id();
    queued_[request.request_id()] = replies_[request.request_id()].queued();
    replies_.erase(request.request_id());
    boost::asio::co_spawn(io_, poll_until_outcome(request), boost::asio::detached);
    run_until([&] {
      const WaitingRequest* waiting = std::as_const(scheduler()).queue().find({request.request_id(), 1});
      return waiting == nullptr || waiting->poll;
    });
  }
  void submit(const std::string& request_id) { submit(make_request(request_id)); }

  boost::asio::awaitable<void> poll_until_outcome(v1::GenerateRequest request) {
    for (;;) {
      try {
        const v1::QueuePoll poll = poll_of(request.request_id());
        const std::string subject = mesh::subjects::scheduler_poll(queued_[request.request_id()].scheduler_id());
        const auto reply = co_await gateway_.request<v1::GenerateReply>(subject, poll, seconds(10));
        if (!reply.has_queued()) {
          outcomes_.push_back(request.request_id());
          replies_[request.request_id()] = reply;
          co_return;
        }
        queued_[request.request_id()] = reply.queued();
        ++polls_answered_;
      } catch (const mesh::Error& error) {
        if (!ending_) ADD_FAILURE() << request.request_id() << ": " << error.what();
        co_return;
      }
    }
  }

  static v1::QueuePoll poll_of(const std::string& request_id) {
    v1::QueuePoll poll;
    poll.set_request_id(request_id);
    poll.set_attempt(1);
    return poll;
  }

  v1::GenerateReply outcome(const std::string& request_id) {
    run_until([&] { return replies_.contains(request_id); });
    return replies_[request_id];
  }

  // One after the other ends, and makes room for the next.
  void expect_served(const std::vector<std::string>& order) {
    for (const std::string& request_id : order) {
      head("a").finish(std::exchange(running_, request_id));
      ASSERT_TRUE(outcome(request_id).has_placed()) << request_id;
    }
    EXPECT_EQ(outcomes_, order);
  }

  void occupy() { ASSERT_TRUE(place(running_).has_placed()); }

  static v1::GenerateRequest of_tenant(const std::string& request_id, const std::string& tenant) {
    v1::GenerateRequest request = make_request(request_id);
    request.set_tenant(tenant);
    return request;
  }

  std::string running_ = "running";  // at head "a", in tests that let it have one
  std::map<std::string, v1::Queued> queued_;
  std::vector<std::string> outcomes_;
  int polls_answered_ = 0;
  bool ending_ = false;
};

TEST_F(SchedulerQueueTest, RequestsWaitInTheirOrderWhileTheHeadIsFull) {
  start_small();
  occupy();
  for (const char* id : {"1", "2", "3"}) submit(id);
  EXPECT_EQ(queued_["1"].position(), 0U);
  EXPECT_EQ(queued_["3"].position(), 2U);
  EXPECT_EQ(head("a").offered.size(), 1U);
  expect_served({"1", "2", "3"});
  EXPECT_EQ(scheduler().queue().size(), 0U);
}

TEST_F(SchedulerQueueTest, TheWaitIsAPartOfTheRequestsTrace) {
  settings_.queue_requests_max = 1;
  start_small();
  occupy();
  v1::GenerateRequest request = make_request("waits");
  request.set_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  submit(request);
  request.set_request_id("too-many");
  ASSERT_TRUE(place(request).has_refused());
  expect_served({"waits"});
  const std::vector<mesh::SpanData> spans = schedulers_[0]->spans->take(9);
  ASSERT_EQ(spans.size(), 2U);
  EXPECT_EQ(spans[0].error, "Every replica of model 'nano' is full, and so is the queue.");
  ASSERT_EQ(spans[1].events.size(), 1U);
  EXPECT_EQ(spans[1].events[0].name, "queued");
  EXPECT_EQ(spans[1].attributes.back(), std::pair(std::string("bellwether.replica_id"), mesh::SpanValue("a")));
  EXPECT_EQ(head("a").traceparent, mesh::to_traceparent(spans[1].context));
}

TEST_F(SchedulerQueueTest, ThePositionAndTheWaitAreToldAgain) {
  start_small();
  occupy();
  for (const char* id : {"1", "2", "3"}) submit(id);
  EXPECT_EQ(queued_["3"].estimated_wait_ms(), 0U) << "nothing has ended yet";
  head("a").finish("running");
  ASSERT_TRUE(outcome("1").has_placed());
  run_until([&] { return queued_["3"].position() == 1; });
  // One in ten seconds.
  EXPECT_EQ(queued_["3"].estimated_wait_ms(), 20000U);
}

TEST_F(SchedulerQueueTest, ABetterPriorityGoesFirst) {
  start_small();
  occupy();
  submit("usual");
  v1::GenerateRequest urgent = make_request("urgent");
  urgent.set_priority(-1);
  submit(urgent);
  EXPECT_EQ(queued_["urgent"].position(), 0U);
  expect_served({"urgent", "usual"});
}

TEST_F(SchedulerQueueTest, TenantsTakeTurns) {
  start_small();
  ASSERT_TRUE(place(of_tenant("running", "greedy")).has_placed());
  for (const char* id : {"g1", "g2", "g3"}) submit(of_tenant(id, "greedy"));
  for (const char* id : {"m1", "m2"}) submit(of_tenant(id, "modest"));
  for (const std::string id : {"m1", "g1"}) {
    head("a").finish(std::exchange(running_, id));
    ASSERT_TRUE(outcome(id).has_placed()) << id;
  }
  EXPECT_THAT(outcomes_, ElementsAre("m1", "g1"));
}

TEST_F(SchedulerQueueTest, ANewcomerDoesNotOvertakeOneThatIsBetweenPolls) {
  start_small();
  occupy();
  ASSERT_TRUE(place("first").has_queued());  // and does not poll yet
  head("a").finish("running");
  run_until([&] { return scheduler().replicas().view("nano").at(0).requests == 0; });
  ASSERT_TRUE(place("second").has_queued());
  queued_["first"] = replies_["first"].queued();
  replies_.erase("first");
  boost::asio::co_spawn(io_, poll_until_outcome(make_request("first")), boost::asio::detached);
  EXPECT_TRUE(outcome("first").has_placed());
}

TEST_F(SchedulerQueueTest, ADeadlineEndsTheWait) {
  start_small();
  occupy();
  v1::GenerateRequest hasty = make_request("hasty");
  hasty.set_deadline_unix_ms(mesh::unix_ms_now() + 300);
  submit(hasty);
  const v1::GenerateReply reply = outcome("hasty");
  ASSERT_TRUE(reply.has_refused());
  EXPECT_EQ(reply.refused().code(), v1::REFUSAL_CODE_OVERLOADED);
  EXPECT_GT(reply.refused().retry_after_ms(), 0U);
  EXPECT_THAT(reply.refused().message(), HasSubstr("had room for"));
  EXPECT_EQ(scheduler().queue().size(), 0U);
}

TEST_F(SchedulerQueueTest, NobodyWaitsForEver) {
  settings_.queue_wait_ms_max = 200;
  start_small();
  occupy();
  v1::GenerateRequest old = make_request("old");
  old.set_waited_ms(60'000);  // elsewhere: it has its place in line, and its time here all the same
  submit("new");
  submit(old);
  EXPECT_EQ(queued_["old"].position(), 0U);
  EXPECT_EQ(outcome("old").refused().code(), v1::REFUSAL_CODE_OVERLOADED);
  EXPECT_EQ(outcome("new").refused().code(), v1::REFUSAL_CODE_OVERLOADED);
}

TEST_F(SchedulerQueueTest, AFullQueueRefuses) {
  settings_.queue_requests_max = 2;
  start_small();
  occupy();
  submit("1");
  submit("2");
  const v1::GenerateReply third = place("3");
  ASSERT_TRUE(third.has_refused());
  EXPECT_EQ(third.refused().code(), v1::REFUSAL_CODE_OVERLOADED);
  EXPECT_GT(third.refused().retry_after_ms(), 0U);
  v1::GenerateRequest urgent = make_request("urgent");
  urgent.set_priority(-1);
  submit(urgent);
  EXPECT_EQ(outcome("2").refused().code(), v1::REFUSAL_CODE_OVERLOADED) << "it is driven out";
}

TEST_F(SchedulerQueueTest, ATenantsPartIsBounded) {
  settings_.queue_requests_max_of_tenant = 1;
  start_small();
  occupy();
  submit(of_tenant("1", "greedy"));
  const v1::GenerateReply second = place(of_tenant("2", "greedy"));
  EXPECT_EQ(second.refused().code(), v1::REFUSAL_CODE_TENANT_LIMIT);
  EXPECT_GT(second.refused().retry_after_ms(), 0U);
  submit(of_tenant("3", "modest"));
}

TEST_F(SchedulerQueueTest, RequestsAreHeldWhileAHeadLoads) {
  start(1, {"a"});
  head("a").state().set_phase(v1::REPLICA_PHASE_LOADING);
  head("a").publish_state();
  run_until([&] { return scheduler().replicas().view("nano").empty(); });
  submit("r");
  EXPECT_EQ(queued_["r"].estimated_wait_ms(), 0U);
  run_until([&] { return polls_answered_ > 0; });
  head("a").state().set_phase(v1::REPLICA_PHASE_READY);
  head("a").publish_state();
  EXPECT_TRUE(outcome("r").has_placed());
}

TEST_F(SchedulerQueueTest, RequestsAreHeldWhileAnAutoscalerMayStartAHead) {
  start(1, {});
  EXPECT_EQ(place("before").refused().code(), v1::REFUSAL_CODE_NO_REPLICA);
  v1::ScaleDecision decision;
  decision.set_model("nano");
  gateway_.publish(mesh::subjects::scale("nano"), decision);
  run_until([&] { return place("r").has_queued(); });
  v1::QueueState told;
  const auto spy = gateway_.subscribe<v1::QueueState>(
      mesh::subjects::queue("nano"), [&](const v1::QueueState& state, const mesh::BusMessage&) { told = state; });
  boost::asio::co_spawn(io_, poll_until_outcome(make_request("r")), boost::asio::detached);
  queued_["r"] = replies_["r"].queued();
  replies_.erase("r");
  run_until([&] { return told.waiting() == 1; });
  heads_.push_back(std::make_unique<ScriptedHead>(io_, nats_.url(), "a", "nano"));
  EXPECT_TRUE(outcome("r").has_placed());
  run_until([&] { return told.waiting() == 0; });
}

TEST_F(SchedulerQueueTest, WithoutHopeItEndsAtOnce) {
  start_small();
  occupy();
  submit("r");
  head("a").state().set_phase(v1::REPLICA_PHASE_STOPPED);
  head("a").publish_state();
  EXPECT_EQ(outcome("r").refused().code(), v1::REFUSAL_CODE_NO_REPLICA);
}

TEST_F(SchedulerQueueTest, AClientThatLeavesLeavesTheQueue) {
  start_small();
  occupy();
  const v1::GenerateReply reply = place("r");
  ASSERT_TRUE(reply.has_queued());
  v1::QueuePoll leave = poll_of("r");
  leave.set_leave(true);
  gateway_.publish(mesh::subjects::scheduler_poll(reply.queued().scheduler_id()), leave);
  run_until([&] { return scheduler().queue().size() == 0; });
  head("a").finish("running");
  run_until([&] { return scheduler().replicas().view("nano").at(0).requests == 0; });
  EXPECT_TRUE(place("next").has_placed());
  EXPECT_THAT(head("a").offered, ElementsAre("running", "next"));
}

TEST_F(SchedulerQueueTest, ANewAttemptEndsTheOlderOne) {
  start_small();
  occupy();
  ASSERT_TRUE(place("r").has_queued());
  v1::GenerateRequest again = make_request("r");
  again.set_attempt(2);
  EXPECT_TRUE(place(again).has_queued());
  EXPECT_EQ(scheduler().queue().size(), 1U);
}

TEST_F(SchedulerQueueTest, WhoRefusesAllTheSameIsAskedLater) {
  start_small(2);
  head("a").manner = Manner::kOverloaded;
  submit("r");
  EXPECT_EQ(head("a").offered.size(), 1U);
  head("a").manner = Manner::kAccepts;
  EXPECT_TRUE(outcome("r").has_placed());
  EXPECT_EQ(scheduler().replicas().reservations(), 1U);
}

TEST_F(SchedulerQueueTest, ASchedulerThatStopsSendsAway) {
  start_small();
  occupy();
  submit("r");
  await(scheduler().stop());
  EXPECT_EQ(outcome("r").refused().code(), v1::REFUSAL_CODE_DRAINING);
}

TEST_F(SchedulerQueueTest, WhatIsNotHeldIsSentAway) {
  start_small();
  occupy();
  submit("r");
  v1::GenerateReply reply;
  const std::string subject = mesh::subjects::scheduler_poll(queued_["r"].scheduler_id());
  await([](mesh::Bus& bus, std::string subject, v1::GenerateReply& reply) -> boost::asio::awaitable<void> {
    const v1::QueuePoll poll = poll_of("another");
    reply = co_await bus.request<v1::GenerateReply>(std::move(subject), poll, seconds(5));
  }(gateway_, subject, reply));
  EXPECT_EQ(reply.refused().code(), v1::REFUSAL_CODE_DRAINING);
}

TEST_F(SchedulerQueueTest, ShowsItInItsMetrics) {
  start_small();
  occupy();
  submit("r");
  const auto shows = [&](const std::string& line) {
    return mesh::render_metrics(schedulers_[0]->registry).find(line) != std::string::npos;
  };
  run_until([&] { return shows("bellwether_scheduler_queued_requests 1"); });
  head("a").finish("running");
  ASSERT_TRUE(outcome("r").has_placed());
  run_until([&] { return shows("bellwether_scheduler_queued_requests 0"); });
  EXPECT_TRUE(shows("bellwether_scheduler_queue_wait_seconds_count 1"));
}

}  // namespace
}  // namespace bellwether::scheduler
