#include "engine/kv_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "engine/block_hash.h"

namespace bellwether::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(KvBlocks, BlocksForTokens) {
  EXPECT_EQ(blocks_for(0), 0);
  EXPECT_EQ(blocks_for(1), 1);
  EXPECT_EQ(blocks_for(kBlockTokens), 1);
  EXPECT_EQ(blocks_for(kBlockTokens + 1), 2);
}

std::vector<int32_t> ids_of(int32_t first) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < kBlockTokens; ++i) ids.push_back(first + i);
  return ids;
}

BlockContent content_of(uint64_t hash, std::span<const int32_t> ids, int32_t parent = -1) {
  return {.hash = hash, .parent = parent, .ids = ids, .prompt_tokens = kBlockTokens};
}

KvEvent stored(uint64_t parent, std::vector<uint64_t> hashes) {
  return {.kind = KvEvent::Kind::kStored, .parent_hash = parent, .hashes = std::move(hashes)};
}
KvEvent removed(std::vector<uint64_t> hashes) {
  return {.kind = KvEvent::Kind::kRemoved, .hashes = std::move(hashes)};
}

MATCHER_P(IsEvent, expected, "") {
  return arg.kind == expected.kind && arg.parent_hash == expected.parent_hash && arg.hashes == expected.hashes;
}

// Takes and stores blocks of these hashes, each the child of the one before.
std::vector<int32_t> store_chain(KvCache& cache, const std::vector<uint64_t>& hashes) {
  std::vector<int32_t> blocks;
  for (const uint64_t hash : hashes) {
    const auto ids = ids_of(static_cast<int32_t>(hash));
    const int32_t parent = blocks.empty() ? -1 : blocks.back();
    blocks.push_back(*cache.store(cache.take(), content_of(hash, ids, parent)));
  }
  return blocks;
}

TEST(KvCache, HandsOutEachBlockOnce) {
  KvCache cache(5);
  std::set<int32_t> taken;
  for (int i = 0; i < 5; ++i) taken.insert(cache.take());
  EXPECT_EQ(taken, (std::set<int32_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(cache.used(), 5);
  cache.release(std::vector<int32_t>{3});
  EXPECT_EQ(cache.used(), 4);
  EXPECT_EQ(cache.take(), 3);
}

TEST(KvCacheDeathTest, MisuseIsABug) {
  KvCache cache(1);
  EXPECT_DEATH(cache.release(std::vector<int32_t>{0}), "given back twice");
  EXPECT_DEATH(cache.share(0), "cannot be found");
  const int32_t block = cache.take();
  EXPECT_DEATH((void)cache.take(), "none is free");
  ASSERT_TRUE(cache.store(block, content_of(1, ids_of(1))));
  EXPECT_DEATH((void)cache.store(block, content_of(2, ids_of(2))), "stored twice");
}

TEST(KvCache, FreeBlocksStayFindableUntilTheSpaceIsNeeded) {
  KvCache cache(3);
  const auto chain = store_chain(cache, {10, 11});
  cache.release(chain);
  EXPECT_EQ(cache.used(), 0);
  EXPECT_EQ(cache.find(content_of(10, ids_of(10))), chain[0]);
  cache.share(chain[0]);
  EXPECT_EQ(cache.find(content_of(11, ids_of(11), chain[0])), chain[1]);
  cache.share(chain[1]);
  EXPECT_EQ(cache.used(), 2);
  EXPECT_EQ(cache.free(), 1);
  EXPECT_THAT(cache.holders(), testing::UnorderedElementsAre(1, 1, 0));
}

TEST(KvCache, EvictsTheOldestAndChildrenBeforeParents) {
  KvCache cache(5);
  const auto old = store_chain(cache, {10, 11});
  const auto young = store_chain(cache, {20, 21});
  cache.release(old);
  cache.release(young);
  (void)cache.take_events();
  (void)cache.take();  // the one that was never stored
  EXPECT_THAT(cache.take_events(), IsEmpty());
  (void)cache.take();
  (void)cache.take();
  (void)cache.take();
  EXPECT_THAT(cache.take_events(), ElementsAre(IsEvent(removed({11, 10, 21}))));
  EXPECT_EQ(cache.find(content_of(20, ids_of(20))), young[0]);
  EXPECT_EQ(cache.find(content_of(10, ids_of(10))), std::nullopt);
}

TEST(KvCache, UseMakesABlockYoungAgain) {
  KvCache cache(2);
  const auto a = store_chain(cache, {10});
  const auto b = store_chain(cache, {20});
  cache.release(a);
  cache.release(b);
  cache.share(a[0]);
  cache.release(a);
  (void)cache.take_events();
  (void)cache.take();
  EXPECT_THAT(cache.take_events(), ElementsAre(IsEvent(removed({20}))));
}

TEST(KvCache, EqualBlocksBecomeOne) {
  KvCache cache(4);
  const auto first = store_chain(cache, {10, 11});
  const auto second = store_chain(cache, {10, 11});
  EXPECT_EQ(first, second);
  EXPECT_EQ(cache.used(), 2);
  EXPECT_THAT(cache.take_events(), ElementsAre(IsEvent(stored(0, {10, 11}))));
  cache.release(first);
  EXPECT_EQ(cache.used(), 2);
  cache.release(second);
  EXPECT_EQ(cache.used(), 0);
}

TEST(KvCache, CollidingHashesShareNothing) {
  KvCache cache(4);
  const auto chain = store_chain(cache, {10, 11});
  EXPECT_EQ(cache.find(content_of(10, ids_of(99))), std::nullopt);
  EXPECT_EQ(cache.find(content_of(11, ids_of(11), 3)), std::nullopt);  // of another parent
  BlockContent content = content_of(10, ids_of(10));
  const auto ids = ids_of(10);
  content.ids = ids;
  EXPECT_EQ(cache.find(content), chain[0]);
  content.salt = 1;
  EXPECT_EQ(cache.find(content), std::nullopt);
  content.salt = 0;
  content.prompt_tokens = 3;
  EXPECT_EQ(cache.find(content), std::nullopt);
  const int32_t block = cache.take();
  EXPECT_EQ(cache.store(block, content), std::nullopt);
  cache.release(std::vector{block});
  EXPECT_EQ(cache.used(), 2);
}

TEST(KvCache, ClearForgetsEverything) {
  KvCache cache(3);
  (void)store_chain(cache, {10, 11});
  cache.clear(3);
  EXPECT_EQ(cache.used(), 0);
  EXPECT_THAT(cache.dump(), IsEmpty());
  const auto events = cache.take_events();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].kind, KvEvent::Kind::kCleared);
}

TEST(KvCache, DumpsParentsBeforeChildren) {
  KvCache cache(8);
  const auto chain = store_chain(cache, {10, 11, 12});
  ASSERT_TRUE(cache.store(cache.take(), content_of(21, ids_of(21), chain[0])));
  (void)store_chain(cache, {30});
  std::set<uint64_t> known = {0};
  for (const KvEvent& event : cache.dump()) {
    EXPECT_EQ(event.kind, KvEvent::Kind::kStored);
    EXPECT_TRUE(known.contains(event.parent_hash));
    for (const uint64_t hash : event.hashes) EXPECT_TRUE(known.insert(hash).second);
  }
  EXPECT_EQ(known, (std::set<uint64_t>{0, 10, 11, 12, 21, 30}));
}

// What the events say is what the cache holds, and no findable block ever lacks its parent.
TEST(KvCache, EventsTellAllWhateverComesAndGoes) {
  std::mt19937 random(3);
  KvCache cache(12);
  std::vector<std::vector<int32_t>> sequences;
  std::map<uint64_t, uint64_t> parents;  // of what the events say is there
  uint64_t hits = 0;
  for (int round = 0; round < 5000; ++round) {
    if (!sequences.empty() && random() % 2 == 0) {
      const size_t gone = random() % sequences.size();
      cache.release(sequences[gone]);
      sequences.erase(sequences.begin() + static_cast<ptrdiff_t>(gone));
    } else {
      std::vector<int32_t> blocks;
      std::vector<int32_t> path;  // two choices at each depth, so that prefixes are common
      uint64_t parent_hash = 0;
      bool is_all_found = true;
      const size_t wanted = 1 + random() % 4;
      while (blocks.size() < wanted) {
        const auto ids = ids_of(static_cast<int32_t>(random() % 2));
        const uint64_t hash = block_hash(parent_hash, ids, kBlockTokens, 0);
        const BlockContent content = content_of(hash, ids, blocks.empty() ? -1 : blocks.back());
        const auto found = is_all_found ? cache.find(content) : std::nullopt;
        if (found) {
          ++hits;
          cache.share(*found);
          blocks.push_back(*found);
        } else {
          is_all_found = false;
          if (cache.free() == 0) break;
          blocks.push_back(*cache.store(cache.take(), content));
        }
        parent_hash = hash;
      }
      if (!blocks.empty()) sequences.push_back(blocks);
    }
    for (const KvEvent& event : cache.take_events()) {
      uint64_t parent = event.parent_hash;
      for (const uint64_t hash : event.hashes) {
        if (event.kind == KvEvent::Kind::kStored) {
          ASSERT_TRUE(parent == 0 || parents.contains(parent));
          ASSERT_TRUE(parents.emplace(hash, std::exchange(parent, hash)).second);
        } else {
          ASSERT_EQ(parents.erase(hash), 1U);
          for (const auto& [child, its_parent] : parents) ASSERT_NE(its_parent, hash);
        }
      }
    }
    size_t dumped = 0;
    for (const KvEvent& event : cache.dump()) dumped += event.hashes.size();
    ASSERT_EQ(dumped, parents.size());
    std::set<int32_t> held;
    for (const auto& blocks : sequences) held.insert(blocks.begin(), blocks.end());
    ASSERT_EQ(cache.used(), std::ssize(held));
  }
  EXPECT_GT(hits, 1000U);
  for (const auto& blocks : sequences) cache.release(blocks);
  EXPECT_EQ(cache.used(), 0);
}

// Fixed: workers and schedulers of one major number must agree.
TEST(BlockHash, HasItsGoldenValues) {
  const auto ids = ids_of(7);
  EXPECT_EQ(block_hash(0, ids, 64, 0), 15126255001167026701U);
  EXPECT_EQ(block_hash(5, ids, 10, 3), 7777240491909208936U);
}

TEST(BlockHash, DependsOnEverything) {
  auto ids = ids_of(7);
  std::set<uint64_t> hashes = {block_hash(0, ids, 64, 0), block_hash(1, ids, 64, 0), block_hash(0, ids, 63, 0),
                               block_hash(0, ids, 64, 1)};
  for (int32_t& id : ids) {
    ++id;
    hashes.insert(block_hash(0, ids, 64, 0));
  }
  EXPECT_EQ(hashes.size(), 4U + kBlockTokens);
}

TEST(BlockHash, APromptsFullBlocksAreAChain) {
  std::vector<int32_t> prompt = ids_of(7);
  prompt.insert(prompt.end(), prompt.begin(), prompt.end());
  prompt.push_back(1);
  const auto hashes = prompt_block_hashes(prompt, 9);
  const uint64_t first = block_hash(0, ids_of(7), 64, 9);
  EXPECT_THAT(hashes, ElementsAre(first, block_hash(first, ids_of(7), 64, 9)));
}

}  // namespace
}  // namespace bellwether::engine
