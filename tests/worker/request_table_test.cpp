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
  EXPECT_EQ(table.sequence_count(), 1u);
  EXPECT_EQ(table.find("r"), nullptr);
  ASSERT_TRUE(table.find(engine::SequenceId{1}));
  EXPECT_TRUE(table.find(engine::SequenceId{1}).request->cancelled);
  EXPECT_TRUE(table.find(engine::SequenceId{1}).choice->cancelled);
  EXPECT_EQ(table.compare("r", 1), Acquaintance::kSame);
}

TEST(RequestTable, ANewerAttemptOutlivesTheRemovalOfTheOlder) {
  RequestTable table;
  table.mark_cancelled(table.add(attempt("r", 1), 1, kNow));
  table.add(attempt("r", 2), 2, kNow);
  table.remove(1);
  ASSERT_NE(table.find("r"), nullptr);
  EXPECT_EQ(table.find("r")->choices.at(0).sequence, 2u);
  EXPECT_EQ(table.compare("r", 2), Acquaintance::kSame);
}

TEST(RequestTable, KeepsWhatARequestSays) {
  RequestTable table;
  v1::GenerateRequest request = attempt("r", 3);
  request.mutable_choices(0)->add_output_ids(4);
  request.add_choices()->set_index(5);
  const LiveRequest& live = table.add(request, 9, kNow);
  EXPECT_EQ(live.request_id, "r");
  EXPECT_EQ(live.attempt, 3u);
  EXPECT_EQ(live.gateway_id, "gateway-a");
  EXPECT_EQ(live.prompt_tokens, 3);
  ASSERT_EQ(live.choices.size(), 2u);
  EXPECT_EQ(live.choices[0].sequence, 9u);
  EXPECT_EQ(live.choices[0].output_tokens_given, 1);
  EXPECT_EQ(live.choices[0].output_tokens, 1);
  EXPECT_EQ(live.choices[1].index, 5u);
  EXPECT_EQ(live.choices[1].sequence, 10u);
  EXPECT_EQ(live.choices[1].output_tokens, 0);
}

TEST(RequestTable, ARequestEndsWithTheLastOfItsChoices) {
  RequestTable table;
  v1::GenerateRequest request = attempt("r", 1);
  request.add_choices()->set_index(1);
  table.add(request, 4, kNow);
  EXPECT_EQ(table.sequence_count(), 2u);
  EXPECT_EQ(table.find(engine::SequenceId{5}).choice->index, 1u);
  table.remove(4);
  EXPECT_FALSE(table.find(engine::SequenceId{4}));
  ASSERT_NE(table.find("r"), nullptr);
  EXPECT_EQ(table.find("r")->choices.size(), 1u);
  EXPECT_EQ(table.find(engine::SequenceId{5}).request, table.find("r"));
  table.remove(5);
  EXPECT_TRUE(table.empty());
  EXPECT_EQ(table.sequence_count(), 0u);
  EXPECT_EQ(table.find("r"), nullptr);
}

TEST(RequestTable, ListsSequencesInTheOrderOfArrival) {
  RequestTable table;
  for (const engine::SequenceId id : {3, 4, 5, 6}) table.add(attempt("r" + std::to_string(id), 1), id, kNow);
  table.remove(4);
  EXPECT_THAT(table.sequences(), ElementsAre(3, 5, 6));
}

}  // namespace
}  // namespace bellwether::worker
