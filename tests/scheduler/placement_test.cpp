#include "scheduler/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace bellwether::scheduler {
namespace {

std::vector<ReplicaView> even_heads(size_t count) {
  static const std::vector<std::string> ids = {"a", "b", "c", "d", "e", "f", "g"};
  std::vector<ReplicaView> heads;
  for (size_t i = 0; i < count; ++i) heads.push_back({.replica_id = ids.at(i), .epoch = 1, .requests_max = 1000});
  return heads;
}

std::optional<size_t> choose(Strategy strategy, const std::vector<ReplicaView>& heads, TieOrder order = {},
                             const std::vector<std::string>& excluded = {}, PlacementRequest request = {}) {
  const std::vector<size_t> eligible = eligible_heads(heads, excluded);
  if (eligible.empty()) return std::nullopt;
  return strategy({.heads = heads, .eligible = eligible, .request = request, .order = order});
}

std::optional<size_t> least_request(const std::vector<ReplicaView>& heads, TieOrder order,
                                    const std::vector<std::string>& excluded = {}) {
  return choose(place_least_request, heads, order, excluded);
}

TEST(LeastRequest, TakesTheFewestRequests) {
  auto heads = even_heads(3);
  heads[0].requests = 2;
  heads[1].requests = 1;
  heads[2].requests = 3;
  heads[1].kv_use = 0.9;
  EXPECT_EQ(least_request(heads, {}), 1);
}

TEST(LeastRequest, AmongEqualsTakesTheLowestKvUse) {
  auto heads = even_heads(3);
  heads[0].kv_use = 0.5;
  heads[1].kv_use = 0.2;
  heads[2].kv_use = 0.9;
  EXPECT_EQ(least_request(heads, {}), 1);
}

TEST(LeastRequest, IgnoresSmallDifferencesOfKvUse) {
  auto heads = even_heads(2);
  heads[0].kv_use = 0.27;
  heads[1].kv_use = 0.21;
  EXPECT_EQ(least_request(heads, {}), 0);
}

TEST(LeastRequest, LeavesOutFullAndExcludedHeads) {
  auto heads = even_heads(3);
  heads[0].requests = heads[0].requests_max = 1;
  EXPECT_EQ(least_request(heads, {}, std::vector<std::string>{"b"}), 2);
  heads[2].requests_max = 0;
  EXPECT_EQ(least_request(heads, {}, std::vector<std::string>{"b"}), std::nullopt);
  EXPECT_EQ(least_request({}, {}), std::nullopt);
}

TEST(TieOrder, IsAPermutationForEveryScheduler) {
  for (size_t schedulers = 1; schedulers <= 5; ++schedulers) {
    for (size_t rank = 0; rank < schedulers; ++rank) {
      for (size_t heads = 1; heads <= 7; ++heads) {
        std::vector<bool> taken(heads);
        for (size_t i = 0; i < heads; ++i) taken.at(TieOrder{rank, schedulers}.position(i, heads)) = true;
        EXPECT_EQ(std::count(taken.begin(), taken.end(), true), heads);
      }
    }
  }
  EXPECT_EQ((TieOrder{0, 2}.position(0, 3)), 0);
  EXPECT_EQ((TieOrder{1, 2}.position(2, 3)), 0);
}

// Two schedulers place a burst; each sees the other's placements after a delay that changes all the time. After every
// placement the true loads differ by one at most.
TEST(LeastRequest, TwoSchedulersSpreadABurstEvenlyWhateverTheDelay) {
  std::mt19937 random(20250101);
  for (int round = 0; round < 2000; ++round) {
    const size_t head_count = 1 + random() % 7;
    std::vector<size_t> placed[2];  // heads, in order
    size_t seen[2] = {0, 0};        // of the other's placements
    std::vector<int> truth(head_count, 0);
    for (int i = 0; i < 60; ++i) {
      const size_t self = random() % 2;
      const size_t other = 1 - self;
      seen[self] += random() % (placed[other].size() - seen[self] + 1);
      auto heads = even_heads(head_count);
      for (const size_t head : placed[self]) {
        ++heads[head].requests;
        ++heads[head].requests_own;
      }
      for (size_t k = 0; k < seen[self]; ++k) ++heads[placed[other][k]].requests;
      const auto choice = least_request(heads, {self, 2});
      ASSERT_TRUE(choice);
      placed[self].push_back(*choice);
      ++truth[*choice];
      const auto [fewest, most] = std::minmax_element(truth.begin(), truth.end());
      ASSERT_LE(*most - *fewest, 1) << "round " << round << ", placement " << i << ", heads " << head_count;
    }
  }
}

}  // namespace
}  // namespace bellwether::scheduler
