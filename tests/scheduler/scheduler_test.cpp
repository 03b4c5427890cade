#include "scheduler/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "scheduler/scheduler_fixture.h"

namespace bellwether::scheduler {
namespace {

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

TEST_F(SchedulerTest, APlacementIsAPartOfTheRequestsTrace) {
  start(1, {"a"});
  for (const auto& [id, model] : {std::pair("placed", "nano"), std::pair("refused", "unknown")}) {
    v1::GenerateRequest request = make_request(id, model);
    request.set_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    EXPECT_EQ(place(std::move(request)).has_placed(), model == std::string("nano"));
  }
  const std::vector<mesh::SpanData> spans = schedulers_[0]->spans->take(9);
  ASSERT_EQ(spans.size(), 2U);
  EXPECT_EQ(spans[0].parent_span_id, "b7ad6b7169203331");
  EXPECT_EQ(head("a").traceparent, mesh::to_traceparent(spans[0].context)) << "the head goes on with it";
  EXPECT_EQ(spans[0].attributes.back(), std::pair(std::string("bellwether.replica_id"), mesh::SpanValue("a")));
  EXPECT_FALSE(spans[0].error.has_value());
  EXPECT_EQ(spans[1].error, "No replica of model 'unknown' is ready.");
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

TEST_F(SchedulerTest, AnUnknownStrategyIsRefusedWithThoseThereAre) {
  start(1, {"a"});
  v1::GenerateRequest request = make_request("r");
  request.set_routing_strategy("fastest");
  const auto reply = place(request);
  ASSERT_TRUE(reply.has_refused());
  EXPECT_EQ(reply.refused().code(), v1::REFUSAL_CODE_INVALID);
  for (const std::string& name : strategy_names()) {
    EXPECT_THAT(reply.refused().message(), ::testing::HasSubstr(name));
  }
  EXPECT_TRUE(head("a").offered.empty());
}

TEST_F(SchedulerTest, AHeadThatLostTheRequestIsAvoidedUnlessThereIsNoOther) {
  start(1, {"a", "b"});
  for (int i = 0; i < 4; ++i) {
    v1::GenerateRequest request = make_request("r" + std::to_string(i));
    request.add_avoid_replicas("a");
    EXPECT_EQ(place(request).placed().replica_id(), "b") << "although it has more to do";
  }
  v1::GenerateRequest request = make_request("last");
  request.add_avoid_replicas("a");
  request.add_avoid_replicas("b");
  EXPECT_EQ(place(request).placed().replica_id(), "a");
}

TEST_F(SchedulerTest, AGapInWhatAHeadTellsOfItsCacheIsHealedByADump) {
  start(1, {"a", "b"});
  run_until([&] { return head("a").dumps == 1 && head("b").dumps == 1; });
  const auto prompt_of = [](const std::string& id, uint32_t token) {
    v1::GenerateRequest request = make_request(id);
    for (int i = 0; i < 640; ++i) request.add_prompt_ids(token);
    return request;
  };
  const v1::GenerateRequest told = prompt_of("told", 5);
  const v1::GenerateRequest lost = prompt_of("lost", 6);
  head("b").store(candidate_of(lost).block_hashes, /*told=*/false);
  head("b").store(candidate_of(told).block_hashes, /*told=*/true);
  run_until([&] { return schedulers_[0]->scheduler.kv().index().blocks() == 20; });
  EXPECT_EQ(head("b").dumps, 2);
  EXPECT_EQ(head("a").dumps, 1);
  EXPECT_EQ(place(lost).placed().replica_id(), "b");
  EXPECT_EQ(place(told).placed().replica_id(), "b") << "although it has more to do";
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
