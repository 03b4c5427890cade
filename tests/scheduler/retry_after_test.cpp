#include "scheduler/retry_after.h"

#include <gtest/gtest.h>

namespace bellwether::scheduler {
namespace {

using std::chrono::milliseconds;

TEST(RetryAfter, IsTheTimeUntilAPlaceIsFree) {
  EXPECT_EQ(overloaded_retry_after_ms(2, 0), 500);
  EXPECT_EQ(overloaded_retry_after_ms(2, 9), 5000);
}

TEST(RetryAfter, IsBounded) {
  EXPECT_EQ(overloaded_retry_after_ms(1000, 0), 250);
  EXPECT_EQ(overloaded_retry_after_ms(0.1, 1000), 30000);
  EXPECT_EQ(overloaded_retry_after_ms(0, 0), 10000);
}

TEST(RecentCount, CountsTheLastSecondsOnly) {
  mesh::TimePoint now{std::chrono::hours(5)};
  RecentCount count;
  EXPECT_EQ(count.count(now, 9), 0);
  count.record(now);
  now += milliseconds(900);
  count.record(now);
  EXPECT_EQ(count.count(now, 0), 2);
  now += milliseconds(200);
  count.record(now);
  EXPECT_EQ(count.count(now, 0), 1);
  EXPECT_EQ(count.count(now, 1), 3);
  now += std::chrono::seconds(9);
  EXPECT_EQ(count.count(now, 9), 1);
  count.record(now);
  EXPECT_EQ(count.count(now, 9), 2);
  now += std::chrono::hours(1);
  EXPECT_EQ(count.count(now, 9), 0);
}

}  // namespace
}  // namespace bellwether::scheduler
