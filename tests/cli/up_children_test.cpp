#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <thread>

#include "cli/temporary_folder.h"
#include "cli/up/children.h"
#include "mesh/error.h"

namespace bellwether::cli {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::TemporaryFolder;

constexpr std::chrono::seconds kPatience{10};

PlannedProcess shell(const std::string& name, const std::string& script, const std::string& log_file = "",
                     Role role = Role::kWorker) {
  return {role, name, mesh::Command{{"/bin/sh", "-c", script}, log_file}};
}

std::vector<ChildEnd> wait_for_end(Children& children) {
  const auto deadline = mesh::steady_now() + kPatience;
  std::vector<ChildEnd> ended;
  while ((ended = children.collect_ended()).empty() && mesh::steady_now() < deadline) std::this_thread::yield();
  return ended;
}

TEST(Children, ReportAnEndOnceWithItsStatus) {
  Children children(&mesh::steady_now, {});
  children.start(shell("a", "exit 7"));
  const auto ended = wait_for_end(children);
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[0].name, "a");
  EXPECT_EQ(ended[0].status, 7);
  EXPECT_EQ(ended[0].restart_after, RestartPolicy::kWaitMin);
  EXPECT_THAT(children.collect_ended(), IsEmpty());
}

TEST(Children, RestartWhenDueAndWithTheNewPlan) {
  const TemporaryFolder folder;
  mesh::TimePoint now{};
  Children children([&] { return now; }, {});
  children.start(shell("a", "exit 1"));
  ASSERT_EQ(wait_for_end(children).size(), 1U);
  children.replan(shell("a", "echo again; exec sleep 60", folder.path() + "/log"));
  EXPECT_EQ(children.next_restart(), now + RestartPolicy::kWaitMin);
  EXPECT_THAT(children.restart_due(), IsEmpty());
  now += RestartPolicy::kWaitMin;
  EXPECT_THAT(children.restart_due(), ElementsAre("a"));
  EXPECT_EQ(children.next_restart(), std::nullopt);
  EXPECT_FALSE(children.all_ended({Role::kWorker}));
  const auto deadline = mesh::steady_now() + kPatience;
  while (last_lines(folder.path() + "/log", 1) != "again" && mesh::steady_now() < deadline) std::this_thread::yield();
  EXPECT_EQ(last_lines(folder.path() + "/log", 1), "again");
}

TEST(Children, ForgottenRestartsDoNotHappen) {
  mesh::TimePoint now{};
  Children children([&] { return now; }, {});
  children.start(shell("a", "exit 1"));
  ASSERT_EQ(wait_for_end(children).size(), 1U);
  children.forget_restarts();
  now += std::chrono::hours(1);
  EXPECT_THAT(children.restart_due(), IsEmpty());
}

TEST(Children, SignalsReachTheRoleAlone) {
  Children children(&mesh::steady_now, {});
  children.start(shell("worker", "exec sleep 60"));
  children.start(shell("nats", "exec sleep 60", "", Role::kNats));
  children.signal({Role::kWorker}, SIGTERM);
  const auto ended = wait_for_end(children);
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[0].name, "worker");
  EXPECT_EQ(ended[0].status, 128 + SIGTERM);
  EXPECT_TRUE(children.all_ended({Role::kWorker}));
  EXPECT_FALSE(children.all_ended({Role::kWorker, Role::kNats}));
}

TEST(Children, AProgramThatIsNoneIsAnError) {
  Children children(&mesh::steady_now, {});
  EXPECT_THROW(children.start({Role::kWorker, "a", mesh::Command{{"/no/such/program"}, ""}}), mesh::Error);
}

TEST(DescribeStatus, TellsExitsFromSignals) {
  EXPECT_EQ(describe_status(3), "ended with status 3");
  EXPECT_EQ(describe_status(128 + SIGKILL), "was ended by signal 9 (Killed)");
}

TEST(LastLines, AreTheLast) {
  const TemporaryFolder folder;
  const std::string file = folder.write("log", "one\ntwo\nthree\n");
  EXPECT_EQ(last_lines(file, 2), "two\nthree");
  EXPECT_EQ(last_lines(file, 3), "one\ntwo\nthree");
  EXPECT_EQ(last_lines(file, 9), "one\ntwo\nthree");
  EXPECT_EQ(last_lines(folder.write("empty", ""), 2), "");
  EXPECT_EQ(last_lines("/no/such/file", 2), "");
}

}  // namespace
}  // namespace bellwether::cli
