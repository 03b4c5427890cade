#include "autoscaler/queue_watch.h"

#include <gtest/gtest.h>

namespace bellwether::autoscaler {
namespace {

using std::chrono::milliseconds;

class QueueWatchTest : public ::testing::Test {
 protected:
  bool tell(const std::string& scheduler, uint32_t waiting, const std::string& model = "m") {
    v1::QueueState state;
    state.set_scheduler_id(scheduler);
    state.set_model(model);
    state.set_waiting(waiting);
    return watch_.apply(state);
  }

  mesh::TimePoint now_{std::chrono::hours(1)};
  QueueWatch watch_{[this] { return now_; }};
};

TEST_F(QueueWatchTest, CountsWhatWaitedThroughoutAnInterval) {
  tell("a", 5);
  EXPECT_EQ(watch_.observe("m"), 0U) << "it has just begun";
  tell("a", 3);
  tell("a", 7);
  EXPECT_EQ(watch_.observe("m"), 3U);
  tell("a", 0);
  tell("a", 4);
  EXPECT_EQ(watch_.observe("m"), 0U) << "it was empty meanwhile";
  EXPECT_EQ(watch_.observe("m"), 4U);
}

TEST_F(QueueWatchTest, AddsUpSchedulersAndKeepsModelsApart) {
  tell("a", 5);
  tell("b", 2);
  tell("a", 9, "other");
  EXPECT_EQ(watch_.observe("m"), 0U);
  EXPECT_EQ(watch_.observe("m"), 7U);
}

TEST_F(QueueWatchTest, ASilentSchedulerHasNoQueue) {
  tell("a", 5);
  EXPECT_EQ(watch_.observe("m"), 0U);
  now_ += QueueWatch::kForgottenAfter;
  EXPECT_EQ(watch_.observe("m"), 5U);
  now_ += milliseconds(1);
  EXPECT_EQ(watch_.observe("m"), 0U);
}

TEST_F(QueueWatchTest, DropsWhatHasNoName) {
  EXPECT_FALSE(tell("", 5));
  EXPECT_FALSE(tell("a", 5, ""));
  EXPECT_FALSE(tell("a", 5, std::string(257, 'm')));
}

}  // namespace
}  // namespace bellwether::autoscaler
