#include "engine/cuda/kv_room.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "engine/model_config.h"

namespace bellwether::engine::cuda {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t kGb = 1'000'000'000;

// Alone on a GPU of 80 GB: what is free is what it has not taken itself.
constexpr GpuRoom kAlone = {
    .total = 80 * kGb, .free = 45 * kGb, .weights = 30 * kGb, .workspace = 4 * kGb, .block = kGb / 100};

std::string message_of(const auto& call) {
  try {
    call();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(KvBlocksFor, TakeWhatTheUtilizationLeaves) {
  EXPECT_EQ(kv_blocks_for(kAlone, 0.9, 1), 3800);  // 72 - 34 GB
  EXPECT_EQ(kv_blocks_for(kAlone, 0.5, 1), 600);
}

TEST(KvBlocksFor, TakeNoMoreThanIsFree) {
  GpuRoom crowded = kAlone;
  crowded.free = 20 * kGb;
  EXPECT_EQ(kv_blocks_for(crowded, 0.9, 1), (20 * kGb - kGpuBytesKept) / crowded.block);
  EXPECT_EQ(kv_blocks_for(kAlone, 1, 1), (45 * kGb - kGpuBytesKept) / kAlone.block);
}

TEST(KvBlocksFor, AreOneSequencesAtLeast) {
  EXPECT_EQ(kv_blocks_for(kAlone, 0.9, 3800), 3800);
  EXPECT_THAT(message_of([] { (void)kv_blocks_for(kAlone, 0.9, 3801); }),
              AllOf(HasSubstr("weights 30.00 GB + workspace 4.00 GB + 3801 KV blocks 38.01 GB = 72.01 GB"),
                    HasSubstr("one sequence of 243264 tokens"),
                    HasSubstr("gpu_memory_utilization 0.9 of 80.00 GB is 72.00 GB"), HasSubstr("max_model_len")));
}

TEST(KvBlocksFor, AreNoneWhereTheWeightsAloneAreTooLarge) {
  EXPECT_THAT(message_of([] { (void)kv_blocks_for(kAlone, 0.3, 1); }), HasSubstr("1 KV blocks 0.01 GB = 34.01 GB"));
  GpuRoom full = kAlone;
  full.free = 0;
  EXPECT_THAT(message_of([&] { (void)kv_blocks_for(full, 0.9, 1); }), HasSubstr("0.00 GB are free"));
}

TEST(RequireRoom, SaysHowManyBlocksThereCouldBe) {
  require_room(kAlone, 4500);
  EXPECT_THAT(message_of([] { require_room(kAlone, 4501); }),
              AllOf(HasSubstr("4501 KV blocks 45.01 GB"), HasSubstr("45.00 of 80.00 GB are free"),
                    HasSubstr("kv_blocks can be 4446 at most")));
}

}  // namespace
}  // namespace bellwether::engine::cuda
