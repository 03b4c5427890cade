#include <gtest/gtest.h>

#include <array>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "scheduler/placement.h"

namespace bellwether::scheduler {
namespace {

std::vector<ReplicaView> heads_of(size_t count) {
  static const std::vector<std::string> ids = {"a", "b", "c", "d", "e", "f", "g", "h"};
  std::vector<ReplicaView> heads;
  for (size_t i = 0; i < count; ++i) {
    heads.push_back({.replica_id = ids.at(i),
                     .epoch = 1,
                     .requests_max = 1000,
                     .prefill_tokens_per_s = 1000,
                     .decode_tokens_per_s = 100});
  }
  return heads;
}

struct Choice {
  PlacementRequest request = {.prompt_tokens = 1000, .output_tokens = 100};
  TieOrder order = {};
  uint64_t random = 0;
  uint64_t turn = 0;
};

size_t choose(Strategy strategy, const std::vector<ReplicaView>& heads, const Choice& choice = {}) {
  const std::vector<size_t> eligible = eligible_heads(heads);
  return strategy({.heads = heads,
                   .eligible = eligible,
                   .request = choice.request,
                   .order = choice.order,
                   .random = choice.random,
                   .turn = choice.turn});
}

TEST(Random, TakesEveryEligibleHeadAsOften) {
  auto heads = heads_of(4);
  heads[2].requests_max = 0;
  std::map<size_t, int> taken;
  for (uint64_t i = 0; i < 300; ++i) ++taken[choose(place_random, heads, {.random = i})];
  EXPECT_EQ(taken, (std::map<size_t, int>{{0, 100}, {1, 100}, {3, 100}}));
}

TEST(RoundRobin, TakesTheHeadsInTurnAndSchedulersBeginApart) {
  const auto heads = heads_of(4);
  for (uint64_t turn = 0; turn < 8; ++turn) EXPECT_EQ(choose(place_round_robin, heads, {.turn = turn}), turn % 4);
  EXPECT_EQ(choose(place_round_robin, heads, {.order = {.rank = 1, .schedulers = 2}}), 2);
}

TEST(LeastKvCache, TakesTheLowestUseThenTheFewestRequests) {
  auto heads = heads_of(3);
  heads[0].kv_use = 0.3;
  heads[1].kv_use = heads[2].kv_use = 0.2;
  heads[1].requests = 5;
  EXPECT_EQ(choose(place_least_kv_cache, heads), 2);
}

TEST(LeastLatency, WeighsTheWaitForTheFirstTokenAgainstThePaceOfTheRest) {
  auto heads = heads_of(2);
  heads[0].prefill_tokens = 5000;  // 5 s before its own prompt
  heads[1].requests = 3;           // 4 share the rate: 3 s more for 100 tokens
  EXPECT_EQ(choose(place_least_latency, heads), 1);
  heads[1].requests = 8;
  EXPECT_EQ(choose(place_least_latency, heads), 0);
}

TEST(LeastLatency, KnowsThatACachedPromptNeedsNoReading) {
  auto heads = heads_of(2);
  heads[1].prefill_tokens = 500;
  heads[1].cached_tokens = 960;
  EXPECT_EQ(choose(place_least_latency, heads), 1);
}

TEST(LeastLatency, KnowsSlowHeads) {
  auto heads = heads_of(2);
  heads[0].prefill_tokens_per_s = 100;
  heads[1].prefill_tokens = 3000;
  EXPECT_EQ(choose(place_least_latency, heads), 1);
}

TEST(Throughput, TakesTheLeastWorkForTheHeadsSpeed) {
  auto heads = heads_of(2);
  heads[0].decode_tokens = 1000;   // 10 s
  heads[1].prefill_tokens = 6000;  // 6 s
  EXPECT_EQ(choose(place_throughput, heads), 1);
  heads[1].prefill_tokens_per_s = 500;
  EXPECT_EQ(choose(place_throughput, heads), 0);
}

TEST(PowerOfTwo, TakesTheBetterOfTwoDifferentHeads) {
  auto heads = heads_of(8);
  for (size_t i = 0; i < heads.size(); ++i) heads[i].requests = i;
  std::set<size_t> taken;
  for (uint64_t first = 0; first < 8; ++first) {
    for (uint64_t second = 0; second < 7; ++second) {
      taken.insert(choose(place_power_of_two, heads, {.random = first | second << 32}));
    }
  }
  // The worst of all is never the better of two.
  EXPECT_EQ(taken, (std::set<size_t>{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(choose(place_power_of_two, heads_of(1)), 0);
}

TEST(PrefixCache, GoesWhereThePromptIsUntilTheWorkThereOutweighsIt) {
  auto heads = heads_of(2);
  heads[1].cached_tokens = 960;  // saves twice 0.96 s
  heads[1].prefill_tokens = 1500;
  EXPECT_EQ(choose(place_prefix_cache, heads), 1);
  heads[1].prefill_tokens = 2500;
  EXPECT_EQ(choose(place_prefix_cache, heads), 0);
}

TEST(PrefixCache, CountsAnswersThatAreBeingWritten) {
  auto heads = heads_of(2);
  heads[0].decode_tokens = 300;
  EXPECT_EQ(choose(place_prefix_cache, heads), 1);
}

TEST(PrefixCache, WithNothingToTellHeadsApartIsLeastRequest) {
  auto heads = heads_of(3);
  heads[0].requests = 2;
  heads[2].requests = 1;
  heads[1].requests = 2;
  EXPECT_EQ(choose(place_prefix_cache, heads), 2);
}

TEST(PrefixCache, MoreCachedThanThereIsOfThePromptIsAllOfIt) {
  auto heads = heads_of(2);
  heads[1].cached_tokens = 5000;
  heads[1].prefill_tokens = 1999;
  EXPECT_EQ(choose(place_prefix_cache, heads), 1);
}

TEST(SessionAffinity, KeepsASessionWhenOtherHeadsComeAndGo) {
  auto heads = heads_of(8);
  size_t moved = 0;
  for (int i = 0; i < 200; ++i) {
    const std::string session = "session-" + std::to_string(i);
    const Choice choice{.request = {.prompt_tokens = 100, .output_tokens = 10, .session_id = session}};
    const size_t home = choose(place_session_affinity, heads, choice);
    heads[home].requests = 100;
    EXPECT_EQ(choose(place_session_affinity, heads, choice), home) << "load does not move it";
    heads[home].requests = 0;
    heads[3].requests_max = 0;
    const size_t without = choose(place_session_affinity, heads, choice);
    heads[3].requests_max = 1000;
    if (home != 3) {
      EXPECT_EQ(without, home);
    } else {
      ++moved;
    }
  }
  EXPECT_GT(moved, 10u);
  EXPECT_LT(moved, 50u);  // an eighth of 200, more or less
}

TEST(SessionAffinity, WithoutASessionIsPrefixCache) {
  auto heads = heads_of(3);
  heads[2].cached_tokens = 960;
  EXPECT_EQ(choose(place_session_affinity, heads), 2);
}

TEST(Fair, ATenantWithinItsShareGoesByTheLeastWork) {
  auto heads = heads_of(2);
  heads[0].prefill_tokens = 100;
  EXPECT_EQ(choose(place_fair, heads), 1);
}

TEST(Fair, ATenantAboveItsShareKeepsToItsOwnHeads) {
  auto heads = heads_of(2);
  heads[0].prefill_tokens = heads[0].tenant_tokens = 3000;  // its own
  heads[1].prefill_tokens = 2000;                           // another's
  Choice choice;
  choice.request.tenant_share = 1;
  EXPECT_EQ(choose(place_fair, heads, choice), 1);
  choice.request.tenant_share = 3;
  EXPECT_EQ(choose(place_fair, heads, choice), 0);
}

TEST(Rates, OfUnmeasuredHeadsAreTheMeanOfTheMeasured) {
  auto heads = heads_of(3);
  heads[0].prefill_tokens_per_s = 0;
  heads[1].prefill_tokens_per_s = 3000;
  for (auto& head : heads) head.decode_tokens_per_s = 0;
  assume_rates(heads);
  EXPECT_EQ(heads[0].prefill_tokens_per_s, 2000);
  EXPECT_EQ(heads[1].prefill_tokens_per_s, 3000);
  for (const auto& head : heads) {
    EXPECT_GT(head.decode_tokens_per_s, 0);
    EXPECT_EQ(head.decode_tokens_per_s, heads[0].decode_tokens_per_s);
  }
}

TEST(SlowStart, ANewHeadGetsItsPartAndNoMore) {
  auto heads = heads_of(3);
  heads[0].requests = heads[1].requests = 9;
  heads[2].ramp = 0.5;
  for (uint64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(choose(place_least_request, heads), 2) << i;
    ++heads[2].requests;
  }
  EXPECT_EQ(choose(place_least_request, heads), 0) << "half of a share of ten";
}

TEST(SlowStart, NewHeadsAloneTakeEverything) {
  auto heads = heads_of(2);
  for (auto& head : heads) {
    head.ramp = 0.1;
    head.requests = 50;
  }
  EXPECT_EQ(eligible_heads(heads).size(), 2u);
  heads[0].ramp = 1;
  heads[0].requests_max = 0;  // the only one that is warm is full
  EXPECT_EQ(choose(place_least_request, heads), 1);
}

}  // namespace
}  // namespace bellwether::scheduler
