#include "engine/ranks/slices.h"

#include <gtest/gtest.h>

#include <vector>

namespace bellwether::engine {
namespace {

std::vector<Slice> cuts(int64_t size, int ranks) {
  std::vector<Slice> slices;
  for (int rank = 0; rank < ranks; ++rank) slices.push_back(cut_matrix(size, rank, ranks));
  return slices;
}

TEST(Slices, CoverEverythingOnceAndEvenly) {
  for (const int64_t size : {1, 3, 16, 40, 61, 96, 129, 448, 768, 2048, 18432, 129280}) {
    for (const int ranks : {1, 2, 3, 4, 5, 8, 16, 64}) {
      int64_t end = 0;
      int64_t widest = 0;
      int64_t narrowest = size;
      for (const Slice slice : cuts(size, ranks)) {
        EXPECT_EQ(slice.begin, end);
        EXPECT_LE(slice.begin, slice.end);
        end = slice.end;
        widest = std::max(widest, slice.size());
        narrowest = std::min(narrowest, slice.size());
      }
      EXPECT_EQ(end, size);
      EXPECT_LE(widest - narrowest, 31) << size << " over " << ranks;  // a unit more, or a last one cut short
      EXPECT_LE(widest, size / ranks + 16) << size << " over " << ranks;
    }
  }
}

TEST(Slices, OfR1AreWholeBlocksOn16Ranks) {
  ModelConfig r1;
  r1.num_attention_heads = 128;
  r1.intermediate_size = 18432;
  r1.moe_intermediate_size = 2048;
  r1.n_shared_experts = 1;
  r1.vocab_size = 129280;
  r1.hidden_size = 7168;
  for (int rank = 0; rank < 16; ++rank) {
    const RankSlices slices = slices_of(r1, rank, 16);
    EXPECT_EQ(slices.heads, (Slice{rank * 8, rank * 8 + 8}));
    EXPECT_EQ(slices.dense, (Slice{rank * 1152, rank * 1152 + 1152}));
    EXPECT_EQ(slices.expert, (Slice{rank * 128, rank * 128 + 128}));
    EXPECT_EQ(slices.shared, slices.expert);
    EXPECT_EQ(slices.draft_input, (Slice{rank * 896, rank * 896 + 896}));
    EXPECT_EQ(slices.vocabulary, (Slice{rank * 8080, rank * 8080 + 8080}));
  }
}

TEST(Slices, BeginAtVectorsWhereEveryRankCanHaveSome) {
  EXPECT_EQ(cuts(768, 4), (std::vector<Slice>{{0, 192}, {192, 384}, {384, 576}, {576, 768}}));
  EXPECT_EQ(cuts(96, 4), (std::vector<Slice>{{0, 16}, {16, 48}, {48, 64}, {64, 96}}));
  EXPECT_EQ(cuts(24, 3), (std::vector<Slice>{{0, 8}, {8, 16}, {16, 24}}));
}

TEST(Slices, MoreRanksThanUnitsLeaveSomeWithNothing) {
  EXPECT_EQ(cuts(2, 4), (std::vector<Slice>{{0, 0}, {0, 1}, {1, 1}, {1, 2}}));
}

}  // namespace
}  // namespace bellwether::engine
