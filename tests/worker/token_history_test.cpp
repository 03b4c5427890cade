#include "worker/token_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace bellwether::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

v1::TokenEvent event(const std::string& request_id, uint32_t choice, uint32_t first_index, uint32_t count,
                     uint32_t attempt = 1) {
  v1::TokenEvent event;
  event.set_request_id(request_id);
  event.set_attempt(attempt);
  event.set_choice(choice);
  event.set_first_index(first_index);
  for (uint32_t i = 0; i < count; ++i) event.add_ids(first_index + i);
  return event;
}

std::vector<uint32_t> first_indices(const TokenHistory::Found& found) {
  std::vector<uint32_t> indices;
  for (const v1::TokenEvent& each : found.events) indices.push_back(each.first_index());
  return indices;
}

TEST(TokenHistory, FindsTheEventsThatHoldTheTokensAskedFor) {
  TokenHistory history(1 << 20);
  history.add(event("r", 0, 0, 3));
  history.add(event("other", 0, 0, 9));
  history.add(event("r", 1, 0, 5));
  history.add(event("r", 0, 3, 2));
  v1::TokenEvent last = event("r", 0, 5, 0);
  last.set_finish_reason(v1::FINISH_REASON_LENGTH);
  history.add(last);
  EXPECT_THAT(first_indices(history.since("r", 1, 0, 0)), ElementsAre(0, 3, 5));
  EXPECT_THAT(first_indices(history.since("r", 1, 0, 2)), ElementsAre(0, 3, 5));
  EXPECT_THAT(first_indices(history.since("r", 1, 0, 3)), ElementsAre(3, 5));
  EXPECT_THAT(first_indices(history.since("r", 1, 0, 5)), ElementsAre(5)) << "the end is told again";
  EXPECT_TRUE(history.since("r", 1, 0, 5).complete);
  EXPECT_TRUE(history.since("r", 1, 1, 5).complete);
  EXPECT_THAT(history.since("r", 1, 1, 5).events, IsEmpty());
}

TEST(TokenHistory, KnowsNothingOfOthers) {
  TokenHistory history(1 << 20);
  history.add(event("r", 0, 0, 3));
  EXPECT_FALSE(history.since("s", 1, 0, 0).complete);
  EXPECT_FALSE(history.since("r", 2, 0, 0).complete);
  EXPECT_FALSE(history.since("r", 1, 1, 0).complete);
}

TEST(TokenHistory, ForgetsTheOldestFirstAndSaysSo) {
  const size_t bytes = event("r", 0, 0, 1).ByteSizeLong();
  TokenHistory history(3 * bytes + 8);
  for (uint32_t i = 0; i < 3; ++i) history.add(event("r", 0, i, 1));
  EXPECT_TRUE(history.since("r", 1, 0, 0).complete);
  history.add(event("s", 0, 0, 1));
  EXPECT_LE(history.bytes(), 3 * bytes + 8);
  EXPECT_FALSE(history.since("r", 1, 0, 0).complete);
  EXPECT_TRUE(history.since("r", 1, 0, 1).complete);
  for (uint32_t i = 1; i < 4; ++i) history.add(event("s", 0, i, 1));
  EXPECT_FALSE(history.since("r", 1, 0, 2).complete);
  history.add(event("t", 0, 0, 1000));
  EXPECT_EQ(history.bytes(), 0U) << "even what alone is too much";
}

}  // namespace
}  // namespace bellwether::worker
