#include "engine/cuda/step_batch.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace bellwether::engine::cuda {
namespace {

// A prompt's end with two generated tokens after it, a generated token, the middle of a prompt.
TEST(StepBatch, PutsGeneratedTokensFirst) {
  const std::vector<int32_t> first_ids = {10, 11, 12, 13};
  const std::vector<int32_t> first_blocks = {7, 3};
  const std::vector<int32_t> second_ids = {20};
  const std::vector<int32_t> second_blocks = {5, 6, 9};
  const std::vector<int32_t> third_ids = {30, 31};
  const std::vector<int32_t> third_blocks = {1, 2};
  const std::vector<BatchSegment> segments = {
      {.ids = first_ids, .position = 62, .prompt_tokens = 64, .blocks = first_blocks},
      {.ids = second_ids, .position = 100, .prompt_tokens = 5, .blocks = second_blocks},
      {.ids = third_ids, .position = 0, .prompt_tokens = 40, .blocks = third_blocks}};
  const StepBatch batch = step_batch_of(segments);
  EXPECT_EQ(batch.rows, 7);
  EXPECT_EQ(batch.decode_rows, 3);
  EXPECT_EQ(batch.ids, (std::vector<int32_t>{12, 13, 20, 10, 11, 30, 31}));
  EXPECT_EQ(batch.positions, (std::vector<int32_t>{64, 65, 100, 62, 63, 0, 1}));
  EXPECT_EQ(batch.slots, (std::vector<int32_t>{3 * 64, 3 * 64 + 1, 6 * 64 + 36, 7 * 64 + 62, 7 * 64 + 63, 64, 65}));
  EXPECT_EQ(batch.row_of, (std::vector<int32_t>{3, 4, 0, 1, 2, 5, 6}));
  ASSERT_EQ(batch.blocks.size(), 3U);
  EXPECT_EQ(batch.blocks[0].size(), 2U);
  EXPECT_EQ(batch.blocks[2].size(), 2U);  // no more than it reads
  EXPECT_EQ(batch.blocks[2][1], 6);
  ASSERT_EQ(batch.prefill.size(), 2U);
  EXPECT_EQ(batch.prefill[0].row_begin, 3);
  EXPECT_EQ(batch.prefill[0].rows, 2);
  EXPECT_EQ(batch.prefill[0].position, 62);
  EXPECT_EQ(batch.prefill[0].blocks.size(), 1U);
  EXPECT_EQ(batch.prefill[1].row_begin, 5);
  EXPECT_EQ(batch.prefill[1].blocks.size(), 1U);
}

}  // namespace
}  // namespace bellwether::engine::cuda
