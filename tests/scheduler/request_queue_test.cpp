#include "scheduler/request_queue.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace bellwether::scheduler {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Outcome = RequestQueue::Outcome;

class RequestQueueTest : public ::testing::Test {
 protected:
  // One that arrived `at` ms after the start, and whose gateway waits for an answer.
  WaitingRequest waiting(const std::string& id, int at_ms, const std::string& tenant = "", int32_t priority = 0,
                         const std::string& model = "m") {
    WaitingRequest waiting;
    waiting.request.set_request_id(id);
    waiting.request.set_model(model);
    waiting.request.set_priority(priority);
    waiting.candidate.key = {id, 1};
    waiting.candidate.model = model;
    waiting.candidate.tenant = tenant;
    waiting.since = waiting.polled_at = kStart + milliseconds(at_ms);
    waiting.deadline = waiting.since + seconds(60);
    waiting.poll.emplace();
    return waiting;
  }

  Outcome push(WaitingRequest each) {
    driven_out_.clear();
    return queue_.push(std::move(each), driven_out_);
  }

  std::vector<std::string> order(const std::string& model = "m") {
    std::vector<std::string> ids;
    for (const WaitingRequest* each : queue_.in_order(model)) ids.push_back(each->candidate.key.request_id);
    return ids;
  }

  // In the order in which they would be placed.
  std::vector<std::string> served() {
    std::vector<std::string> ids;
    while (WaitingRequest* first = queue_.first("m")) {
      ids.push_back(first->candidate.key.request_id);
      queue_.take(RequestKey(first->candidate.key));
    }
    return ids;
  }

  static constexpr mesh::TimePoint kStart{std::chrono::hours(1)};
  std::map<std::string, double> work_;
  RequestQueue queue_{{.requests_max = 6, .requests_max_of_tenant = 3, .bytes_max = 100000},
                      [this](const std::string& tenant) { return work_[tenant]; }};
  std::vector<WaitingRequest> driven_out_;
};

using Ids = std::vector<std::string>;

TEST_F(RequestQueueTest, ServesInTheOrderOfArrival) {
  for (const char* id : {"1", "2", "3"}) EXPECT_EQ(push(waiting(id, *id)), Outcome::kQueued);
  EXPECT_EQ(order(), (Ids{"1", "2", "3"}));
  EXPECT_EQ(served(), (Ids{"1", "2", "3"}));
  EXPECT_EQ(queue_.size(), 0u);
  EXPECT_EQ(queue_.bytes(), 0u);
}

TEST_F(RequestQueueTest, WhoHasWaitedElsewhereStandsBeforeWhoCameSince) {
  push(waiting("here", 50));
  push(waiting("elsewhere", 10));
  push(waiting("late", 60));
  EXPECT_EQ(order(), (Ids{"elsewhere", "here", "late"}));
}

TEST_F(RequestQueueTest, BetterClassesComeFirst) {
  push(waiting("usual", 1));
  push(waiting("batch", 2, "", 10));
  push(waiting("urgent", 3, "", -5));
  EXPECT_EQ(served(), (Ids{"urgent", "usual", "batch"}));
}

TEST_F(RequestQueueTest, InAClassTheTenantWithLessWorkComesFirst) {
  work_ = {{"greedy", 1000}, {"modest", 10}};
  push(waiting("g1", 1, "greedy"));
  push(waiting("g2", 2, "greedy"));
  push(waiting("m1", 3, "modest"));
  push(waiting("urgent", 4, "greedy", -1));
  EXPECT_EQ(order(), (Ids{"urgent", "m1", "g1", "g2"}));
  // What is placed counts at once: the two take turns.
  EXPECT_EQ(queue_.first("m")->candidate.key.request_id, "urgent");
  queue_.take({"urgent", 1});
  queue_.take({"m1", 1});
  work_["modest"] = 2000;
  push(waiting("m2", 5, "modest"));
  EXPECT_EQ(order(), (Ids{"g1", "g2", "m2"}));
}

TEST_F(RequestQueueTest, WorkThatFadesWhileItIsReadChangesNothing) {
  double work = 1000;
  RequestQueue queue({.requests_max = 6, .requests_max_of_tenant = 3, .bytes_max = 100000},
                     [&](const std::string&) { return --work; });
  for (const char* id : {"1", "2", "3"}) ASSERT_EQ(queue.push(waiting(id, *id), driven_out_), Outcome::kQueued);
  EXPECT_EQ(queue.first("m")->candidate.key.request_id, "1");
  EXPECT_EQ(queue.in_order("m").back()->candidate.key.request_id, "3");
}

TEST_F(RequestQueueTest, WhoseGatewayDoesNotWaitIsPassedOver) {
  WaitingRequest away = waiting("away", 1);
  away.poll.reset();
  push(std::move(away));
  push(waiting("here", 2));
  EXPECT_EQ(queue_.first("m")->candidate.key.request_id, "here");
  EXPECT_EQ(order(), (Ids{"away", "here"})) << "its place is kept";
}

TEST_F(RequestQueueTest, ModelsAreApart) {
  push(waiting("1", 1, "", 0, "x"));
  push(waiting("2", 2, "", 0, "y"));
  EXPECT_EQ(order("x"), Ids{"1"});
  EXPECT_EQ(queue_.models(), (Ids{"x", "y"}));
  EXPECT_EQ(queue_.first("m"), nullptr);
  EXPECT_EQ(queue_.take_all("x").size(), 1u);
  EXPECT_EQ(queue_.models(), Ids{"y"});
}

TEST_F(RequestQueueTest, IsBounded) {
  for (int i = 0; i < 6; ++i) EXPECT_EQ(push(waiting(std::to_string(i), i)), Outcome::kQueued);
  EXPECT_EQ(push(waiting("one more", 7)), Outcome::kFull);
  EXPECT_TRUE(driven_out_.empty());
  EXPECT_EQ(queue_.size(), 6u);
}

TEST_F(RequestQueueTest, IsBoundedInBytes) {
  WaitingRequest large = waiting("large", 1);
  for (int i = 0; i < 90000; ++i) large.request.add_prompt_ids(1);
  EXPECT_EQ(push(std::move(large)), Outcome::kQueued);
  WaitingRequest second = waiting("second", 2);
  for (int i = 0; i < 20000; ++i) second.request.add_prompt_ids(1);
  EXPECT_EQ(push(std::move(second)), Outcome::kFull);
  EXPECT_EQ(push(waiting("small", 3)), Outcome::kQueued);
}

TEST_F(RequestQueueTest, ATenantHasAPartOfIt) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(push(waiting(std::to_string(i), i, "greedy")), Outcome::kQueued);
  EXPECT_EQ(push(waiting("one more", 4, "greedy")), Outcome::kTenantFull);
  EXPECT_EQ(push(waiting("another's", 5, "modest")), Outcome::kQueued);
  queue_.take({"0", 1});
  EXPECT_EQ(push(waiting("again", 6, "greedy")), Outcome::kQueued);
}

TEST_F(RequestQueueTest, ABetterClassDrivesOutTheLastOfAWorse) {
  for (int i = 0; i < 5; ++i) push(waiting(std::to_string(i), i));
  push(waiting("batch", 5, "", 10));
  EXPECT_EQ(push(waiting("usual", 6)), Outcome::kQueued);
  ASSERT_EQ(driven_out_.size(), 1u);
  EXPECT_EQ(driven_out_[0].candidate.key.request_id, "batch");
  EXPECT_EQ(push(waiting("equal", 7)), Outcome::kFull) << "its own class is not driven out";
  EXPECT_EQ(push(waiting("urgent", 8, "", -1)), Outcome::kQueued);
  ASSERT_EQ(driven_out_.size(), 1u);
  EXPECT_EQ(driven_out_[0].candidate.key.request_id, "usual") << "who came last";
}

TEST_F(RequestQueueTest, ANewcomerDoesNotOvertakeItsOwnClass) {
  EXPECT_FALSE(queue_.anyone_before("m", 0));
  push(waiting("usual", 1));
  EXPECT_TRUE(queue_.anyone_before("m", 0));
  EXPECT_TRUE(queue_.anyone_before("m", 5));
  EXPECT_FALSE(queue_.anyone_before("m", -1));
  EXPECT_FALSE(queue_.anyone_before("other", 5));
}

TEST_F(RequestQueueTest, DeadlinesAndGatewaysThatAreGoneEndTheWait) {
  push(waiting("polls", 0));
  WaitingRequest away = waiting("away", 0);
  away.poll.reset();
  push(std::move(away));
  WaitingRequest hasty = waiting("hasty", 0);
  hasty.deadline = kStart + seconds(1);
  push(std::move(hasty));
  EXPECT_TRUE(queue_.take_overdue(kStart).empty());
  auto overdue = queue_.take_overdue(kStart + seconds(1));
  ASSERT_EQ(overdue.size(), 1u);
  EXPECT_EQ(overdue[0].candidate.key.request_id, "hasty");
  overdue = queue_.take_overdue(kStart + RequestQueue::kPollDeadline + milliseconds(1));
  ASSERT_EQ(overdue.size(), 1u);
  EXPECT_EQ(overdue[0].candidate.key.request_id, "away");
  EXPECT_EQ(order(), Ids{"polls"});
}

TEST_F(RequestQueueTest, ANewAttemptEndsOlderOnes) {
  push(waiting("r", 1));
  push(waiting("other", 2));
  queue_.drop_older({"r", 1});
  EXPECT_NE(queue_.find({"r", 1}), nullptr);
  queue_.drop_older({"r", 2});
  EXPECT_EQ(queue_.find({"r", 1}), nullptr);
  EXPECT_EQ(order(), Ids{"other"});
}

TEST_F(RequestQueueTest, WhoCouldNotBePlacedComesBackToItsPlace) {
  for (int i = 0; i < 6; ++i) push(waiting(std::to_string(i), i));
  WaitingRequest taken = queue_.take({"1", 1});
  push(waiting("new", 7));
  queue_.put_back(std::move(taken));
  EXPECT_EQ(order(), (Ids{"0", "1", "2", "3", "4", "5", "new"}));
  EXPECT_EQ(served().size(), 7u);
  EXPECT_EQ(queue_.bytes(), 0u);
}

}  // namespace
}  // namespace bellwether::scheduler
