#include "engine/kv_blocks.h"

#include <gtest/gtest.h>

#include <set>

namespace bellwether::engine {
namespace {

TEST(KvBlocks, BlocksForTokens) {
  EXPECT_EQ(blocks_for(0), 0);
  EXPECT_EQ(blocks_for(1), 1);
  EXPECT_EQ(blocks_for(kBlockTokens), 1);
  EXPECT_EQ(blocks_for(kBlockTokens + 1), 2);
}

TEST(KvBlocks, HandsOutEachBlockOnce) {
  BlockAllocator blocks(5);
  std::set<int32_t> taken;
  for (int i = 0; i < 5; ++i) taken.insert(blocks.take());
  EXPECT_EQ(taken, (std::set<int32_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(blocks.used(), 5);
  blocks.give_back(3);
  EXPECT_EQ(blocks.used(), 4);
  EXPECT_EQ(blocks.take(), 3);
}

TEST(KvBlocksDeathTest, MisuseIsABug) {
  BlockAllocator blocks(1);
  EXPECT_DEATH(blocks.give_back(0), "given back twice");
  (void)blocks.take();
  EXPECT_DEATH((void)blocks.take(), "none is free");
}

}  // namespace
}  // namespace bellwether::engine
