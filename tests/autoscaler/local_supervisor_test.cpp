// The supervisor with real child processes.
#include "autoscaler/local_supervisor.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include "mesh/ids.h"
#include "mesh/process.h"

namespace bellwether::autoscaler {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class LocalSupervisorTest : public ::testing::Test {
 protected:
  ~LocalSupervisorTest() override { std::filesystem::remove_all(folder_); }

  LocalSupervisorOptions worker(std::vector<std::string> arguments) {
    LocalSupervisorOptions options;
    options.command = {mesh::program_folder() + "/test_scripted_worker"};
    options.command.insert(options.command.end(), arguments.begin(), arguments.end());
    options.log_folder = folder_;
    return options;
  }

  LocalSupervisor supervisor(LocalSupervisorOptions options) {
    return {io_.get_executor(), std::move(options), [this] { return now_; }};
  }

  // The end of a process is no event of the io_context, so it is polled.
  void until(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + seconds(20);
    while (!condition()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "waited too long";
      std::this_thread::sleep_for(milliseconds(2));
    }
  }

  std::vector<std::string> ids(const LocalSupervisor& supervisor) {
    std::vector<std::string> ids;
    for (const auto& member : supervisor.members()) ids.push_back(member.replica_id);
    return ids;
  }

  static std::string text_of(const std::string& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }

  void stop(LocalSupervisor& supervisor) {
    boost::asio::co_spawn(io_, supervisor.stop(), boost::asio::detached);
    io_.restart();
    io_.run();
  }

  std::string folder_ = std::filesystem::temp_directory_path() / mesh::random_id("bellwether-supervisor");
  boost::asio::io_context io_;
  mesh::TimePoint now_{std::chrono::hours(1)};
};

TEST_F(LocalSupervisorTest, StartsAndStopsTheYoungestFirst) {
  LocalSupervisor set = supervisor(worker({"--mute", "1"}));
  set.scale_to(3);
  const auto started = ids(set);
  ASSERT_EQ(started.size(), 3);
  EXPECT_FALSE(set.members()[0].heard);
  set.heard(started[0]);
  EXPECT_TRUE(set.members()[0].heard);
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/" + started[0] + ".log"));

  set.scale_to(1);
  EXPECT_EQ(ids(set), std::vector<std::string>{started[0]});
  std::vector<std::string> ended;
  until([&] {
    for (const std::string& id : set.collect_ended()) ended.push_back(id);
    return ended.size() == 2;
  });
  set.scale_to(2);
  EXPECT_EQ(ids(set).size(), 2) << "an orderly end is no death to wait after";
  stop(set);
  EXPECT_TRUE(set.members().empty());
  stop(set);
}

TEST_F(LocalSupervisorTest, WaitsLongerAfterEachDeath) {
  LocalSupervisor set = supervisor(worker({"--exit", "3"}));
  for (int deaths = 1; deaths <= 4; ++deaths) {
    set.scale_to(1);
    ASSERT_EQ(set.members().size(), 1) << deaths;
    until([&] { return !set.collect_ended().empty(); });
    set.scale_to(1);
    EXPECT_TRUE(set.members().empty()) << "started again at once";
    now_ += restart_wait(deaths) - milliseconds(1);
    set.scale_to(1);
    EXPECT_TRUE(set.members().empty());
    now_ += milliseconds(1);
  }
}

TEST_F(LocalSupervisorTest, AProgramThatDoesNotExistIsADeath) {
  LocalSupervisorOptions options;
  options.command = {"/nonexistent/worker"};
  LocalSupervisor set = supervisor(options);
  set.scale_to(2);
  EXPECT_TRUE(set.members().empty());
}

TEST_F(LocalSupervisorTest, KillsAWorkerThatIsNotHeardInTime) {
  LocalSupervisorOptions options = worker({"--mute", "1"});
  options.start_timeout = seconds(5);
  LocalSupervisor set = supervisor(options);
  set.scale_to(2);
  const auto started = ids(set);
  set.heard(started[0]);
  now_ += seconds(5);
  EXPECT_TRUE(set.collect_ended().empty());
  now_ += milliseconds(1);
  std::vector<std::string> ended;
  until([&] { return !(ended = set.collect_ended()).empty(); });
  EXPECT_EQ(ended, std::vector<std::string>{started[1]});
  EXPECT_EQ(ids(set), std::vector<std::string>{started[0]});
}

TEST_F(LocalSupervisorTest, KillsAHungWorker) {
  LocalSupervisor set = supervisor(worker({"--mute", "1"}));
  set.scale_to(1);
  set.hung("somebody else");
  EXPECT_TRUE(set.collect_ended().empty());
  set.hung(ids(set)[0]);
  until([&] { return !set.collect_ended().empty(); });
}

TEST_F(LocalSupervisorTest, AReplicaOfSeveralRanksIsAProcessForEach) {
  LocalSupervisorOptions options;
  // Each writes down its arguments, and for its head that it was told to stop.
  options.command = {"/bin/sh", "-c", "echo \"$@\"; trap 'exit 0' TERM; while :; do sleep 0.02; done", "sh"};
  options.ranks = 2;
  options.log_folder = folder_;
  LocalSupervisor set = supervisor(options);
  set.scale_to(1);
  const std::string id = ids(set).at(0);
  std::string head;
  std::string follower;
  until([&] {
    head = text_of(folder_ + "/" + id + "-rank-0.log");
    follower = text_of(folder_ + "/" + id + "-rank-1.log");
    return head.ends_with('\n') && follower.ends_with('\n');
  });
  const std::string at = "--grpc 127.0.0.1:";
  ASSERT_NE(head.find(at), std::string::npos) << head;
  const std::string port = head.substr(head.find(at) + at.size(), 5);
  EXPECT_EQ(head, "--replica-id " + id + " " + at + port + " --ranks 2 --rank 0\n");
  EXPECT_EQ(follower, "--replica-id " + id + " " + at + "0 --ranks 2 --rank 1 --head 127.0.0.1:" + port + "\n");
  stop(set);
  EXPECT_TRUE(set.members().empty());
}

TEST_F(LocalSupervisorTest, ADeadRankIsTheEndOfItsReplica) {
  LocalSupervisorOptions options;
  options.command = {"/bin/sh", "-c", "case \"$*\" in *--head*) exit 3;; esac; while :; do sleep 0.02; done", "sh"};
  options.ranks = 3;
  LocalSupervisor set = supervisor(options);
  set.scale_to(1);
  const auto started = ids(set);
  std::vector<std::string> ended;
  until([&] { return !(ended = set.collect_ended()).empty(); });
  EXPECT_EQ(ended, started) << "its head was told to stop";
  set.scale_to(1);
  EXPECT_TRUE(set.members().empty()) << "it was one death";
  now_ += restart_wait(1);
  set.scale_to(1);
  EXPECT_EQ(set.members().size(), 1u);
}

TEST_F(LocalSupervisorTest, StopKillsWhatDoesNotStopInTime) {
  LocalSupervisorOptions options;
  options.command = {"/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"};
  options.stop_timeout = milliseconds(100);
  LocalSupervisor set = supervisor(options);
  set.scale_to(1);
  stop(set);
  EXPECT_TRUE(set.members().empty());
}

TEST(RestartWait, DoublesUpToItsLimit) {
  EXPECT_EQ(restart_wait(0), milliseconds(0));
  EXPECT_EQ(restart_wait(1), seconds(1));
  EXPECT_EQ(restart_wait(2), seconds(2));
  EXPECT_EQ(restart_wait(6), seconds(32));
  EXPECT_EQ(restart_wait(7), seconds(60));
  EXPECT_EQ(restart_wait(1000000), seconds(60));
}

}  // namespace
}  // namespace bellwether::autoscaler
