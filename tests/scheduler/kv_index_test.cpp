#include "scheduler/kv_index.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <vector>

namespace bellwether::scheduler {
namespace {

TEST(KvIndex, CountsBlocksFromTheFirstOnWithoutAGap) {
  KvIndex index(100);
  const size_t a = *index.add_replica();
  const size_t b = *index.add_replica();
  for (const uint64_t hash : {1, 2, 3}) index.store(a, hash);
  index.store(b, 1);
  index.store(b, 3);
  std::vector<uint32_t> counts;
  index.match(std::vector<uint64_t>{1, 2, 3, 4}, counts);
  EXPECT_EQ(counts[a], 3);
  EXPECT_EQ(counts[b], 1);
  index.remove_replica(a);
  index.match(std::vector<uint64_t>{1, 2, 3, 4}, counts);
  EXPECT_EQ(counts[a], 0);
}

TEST(KvIndex, IsBounded) {
  KvIndex index(2);
  const size_t a = *index.add_replica();
  EXPECT_TRUE(index.store(a, 1));
  EXPECT_TRUE(index.store(a, 2));
  EXPECT_FALSE(index.store(a, 3));
  EXPECT_TRUE(index.store(a, 2));
  EXPECT_EQ(index.refused(), 1);
}

// Against sets, with replicas that come and go while others are swept.
TEST(KvIndex, IsRightWhateverComesAndGoes) {
  std::mt19937_64 random(7);
  KvIndex index(100000);
  std::map<size_t, std::set<uint64_t>> truth;
  for (int i = 0; i < 200000; ++i) {
    const uint64_t what = random() % 1000;
    if (truth.empty() || (what < 4 && truth.size() < 150)) {
      const auto slot = index.add_replica();
      ASSERT_TRUE(slot && !truth.contains(*slot));
      truth[*slot];
      continue;
    }
    const auto replica = std::next(truth.begin(), static_cast<ptrdiff_t>(random() % truth.size()));
    const uint64_t hash = 1 + random() % 3000;
    if (what < 6) {
      index.remove_replica(replica->first);
      truth.erase(replica);
    } else if (what < 20) {
      index.sweep(random() % 500);
    } else if (what < 600) {
      index.store(replica->first, hash);
      replica->second.insert(hash);
    } else {
      index.remove(replica->first, hash);
      replica->second.erase(hash);
    }
    if (i % 50 != 0) continue;
    for (const auto& [slot, blocks] : truth) ASSERT_EQ(index.holds(slot, hash), blocks.contains(hash)) << i;
  }
}

}  // namespace
}  // namespace bellwether::scheduler
