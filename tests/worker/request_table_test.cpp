#include "worker/request_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "worker/requests.h"

namespace bellwether::worker {
namespace {

using ::testing::ElementsAre;

const mesh::TimePoint kNow{};

v1::GenerateRequest attempt(const std::string& request_id, uint32_t number) {
  v1::GenerateRequest request = testing::request_for(request_id, {0, 5, 7}, 10);
  request.set_attempt(number);
  return request;
}

TEST(RequestTable, TellsAttemptsApartWhileOneRuns) {
  RequestTable table;
  EXPECT_EQ(table.compare("r", 1), Acquaintance::kUnknown);
  table.add(attempt("r", 2), 1, kNow);
  EXPECT_EQ(table.compare("r", 1), Acquaintance::kOutdated);
  EXPECT_EQ(table.compare("r", 2), Acquaintance::kSame);
  EXPECT_EQ(table.compare("r", 3), Acquaintance::kNewer);
  EXPECT_EQ(table.compare("another", 2), Acquaintance::kUnknown);
}

TEST(RequestTable, RemembersWhatHasEnded) {
  RequestTable table;
  table.add(attempt("r", 2), 1, kNow);
  table.remove(1);
  EXPECT_TRUE(table.empty());
  EXPECT_EQ(table.compare("r", 1), Acquaintance::kOutdated);
  EXPECT_EQ(table.compare("r", 2), Acquaintance::kSame);
  EXPECT_EQ(table.compare("r", 3), Acquaintance::kUnknown);
}

TEST(RequestTable, ForgetsTheOldestOfManyThatEnded) {
  RequestTable table;
  for (size_t i = 0; i <= RequestTable::kEndedMax; ++i) {
    table.add(attempt("r" + std::to_string(i), 1), i, kNow);
    table.remove(i);
  }
  EXPECT_EQ(table.compare("r0", 1), Acquaintance::kUnknown);
  EXPECT_EQ(table.compare("r1", 1), Acquaintance::kSame);
}

TEST(RequestTable, ACancelledRequestCountsUntilItIsRemovedButIsNotFoundByItsId) {
  RequestTable table;
  LiveRequest& request = table.add(attempt("r", 1), 1, kNow);
  table.mark_cancelled(request);
  EXPECT_EQ(table.size(), 1u);
  EXPECT_EQ(table.find("r"), nullptr);
  ASSERT_NE(table.find(engine::SequenceId{1}), nullptr);
  EXPECT_TRUE(table.find(engine::SequenceId{1})->cancelled);
  EXPECT_EQ(table.compare("r", 1), Acquaintance::kSame);
}

TEST(RequestTable, ANewerAttemptOutlivesTheRemovalOfTheOlder) {
  RequestTable table;
  table.mark_cancelled(table.add(attempt("r", 1), 1, kNow));
  table.add(attempt("r", 2), 2, kNow);
  table.remove(1);
  ASSERT_NE(table.find("r"), nullptr);
  EXPECT_EQ(table.find("r")->sequence, 2u);
  EXPECT_EQ(table.compare("r", 2), Acquaintance::kSame);
}

TEST(RequestTable, KeepsWhatARequestSays) {
  RequestTable table;
  v1::GenerateRequest request = attempt("r", 3);
  request.add_output_ids(4);
  const LiveRequest& live = table.add(request, 9, kNow);
  EXPECT_EQ(live.request_id, "r");
  EXPECT_EQ(live.attempt, 3u);
  EXPECT_EQ(live.gateway_id, "gateway-a");
  EXPECT_EQ(live.prompt_tokens, 3);
  EXPECT_EQ(live.output_tokens_given, 1);
  EXPECT_EQ(live.output_tokens, 1);
}

TEST(RequestTable, ListsSequencesInTheOrderOfArrival) {
  RequestTable table;
  for (const engine::SequenceId id : {3, 4, 5, 6}) table.add(attempt("r" + std::to_string(id), 1), id, kNow);
  table.remove(4);
  EXPECT_THAT(table.sequences(), ElementsAre(3, 5, 6));
}

}  // namespace
}  // namespace bellwether::worker
