#include "mesh/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "mesh/error.h"
#include "mesh/ids.h"

namespace bellwether::mesh {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr auto kTimeMax = 20s;

Command shell(const std::string& script, const std::string& log_file = {}) {
  return {{"/bin/sh", "-c", script}, log_file};
}

class ProcessTest : public ::testing::Test {
 protected:
  ProcessTest() { std::filesystem::create_directories(folder_); }
  ~ProcessTest() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string path(const std::string& name) const { return (folder_ / name).string(); }

  static std::string read(const std::string& file_path) {
    std::ifstream file(file_path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  // Waits for a child's own sign that it has come so far.
  static void await_text(const std::string& file_path, const std::string& text) {
    const auto deadline = std::chrono::steady_clock::now() + kTimeMax;
    while (read(file_path).find(text) == std::string::npos && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(1ms);
    }
    ASSERT_THAT(read(file_path), HasSubstr(text));
  }

  const std::filesystem::path folder_ = std::filesystem::temp_directory_path() / random_id("process-test");
};

TEST_F(ProcessTest, ReportsTheExitCode) {
  ChildProcess child(shell("exit 7"));
  EXPECT_EQ(child.wait(kTimeMax), 7);
  EXPECT_EQ(child.poll(), 7);
  child.signal(SIGTERM);  // to nobody
}

TEST_F(ProcessTest, ReportsTheSignal) {
  ChildProcess child({{"/bin/sleep", "60"}, ""});
  EXPECT_EQ(child.poll(), std::nullopt);
  EXPECT_EQ(child.wait(0ms), std::nullopt);
  child.signal(SIGTERM);
  EXPECT_EQ(child.wait(kTimeMax), 128 + SIGTERM);
}

TEST_F(ProcessTest, AProgramThatCannotRunIsAnError) {
  for (const std::string& program : {std::string("/nonexistent/program"), folder_.string()}) {
    try {
      const ChildProcess child({{program}, ""});
      FAIL() << "started " << program;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
      EXPECT_THAT(error.what(), HasSubstr(program));
    }
  }
  EXPECT_THROW(ChildProcess(shell("true", path("no/such/folder"))), Error);
  EXPECT_THROW(ChildProcess(Command{}), Error);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);  // none is left to be reaped
  EXPECT_EQ(errno, ECHILD);
}

TEST_F(ProcessTest, AppendsOutputAndErrorsToTheLogFile) {
  const std::string log = path("log");
  for (int i = 0; i < 2; ++i) {
    ChildProcess child(shell("echo out; echo err >&2", log));
    ASSERT_EQ(child.wait(kTimeMax), 0);
  }
  EXPECT_EQ(read(log), "out\nerr\nout\nerr\n");
}

TEST_F(ProcessTest, TheChildHasItsOwnGroupNoTerminalAndNoneOfOurFiles) {
  std::array<int, 2> leaked{};
  ASSERT_EQ(pipe(leaked.data()), 0);  // without close-on-exec
  const ChildProcess child(
      shell("readlink /proc/self/fd/0; ls /proc/$$/fd | wc -w; "
            "cut -d' ' -f5 /proc/$$/stat; echo end; sleep 60",
            path("log")));
  await_text(path("log"), "end");
  EXPECT_EQ(read(path("log")), "/dev/null\n3\n" + std::to_string(child.pid()) + "\nend\n");
  close(leaked[0]);
  close(leaked[1]);
}

TEST_F(ProcessTest, TheChildHasNoBlockedSignals) {
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigset_t before;
  sigprocmask(SIG_BLOCK, &blocked, &before);
  // No shell: it would unblock them itself.
  ChildProcess child({{"/bin/grep", "SigBlk", "/proc/self/status"}, path("log")});
  sigprocmask(SIG_SETMASK, &before, nullptr);
  ASSERT_EQ(child.wait(kTimeMax), 0);
  EXPECT_EQ(read(path("log")), "SigBlk:\t0000000000000000\n");
}

TEST_F(ProcessTest, EndsWithItsParentEvenWhenThatIsKilled) {
  const std::string log = path("log");
  const pid_t parent = fork();
  if (parent == 0) {
    const ChildProcess child(shell("trap 'echo terminated; exit' TERM; echo $$; while :; do sleep 0.01; done", log));
    pause();
    _exit(0);
  }
  await_text(log, "\n");
  kill(parent, SIGKILL);
  waitpid(parent, nullptr, 0);
  await_text(log, "terminated");
}

TEST_F(ProcessTest, DestructorKillsAndReaps) {
  pid_t pid = 0;
  {
    const ChildProcess child(shell("trap '' TERM; echo ready; while :; do sleep 0.01; done", path("log")));
    await_text(path("log"), "ready");
    pid = child.pid();
  }
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST_F(ProcessTest, MovingKeepsTheChild) {
  std::vector<ChildProcess> children;
  for (int i = 0; i < 5; ++i) children.emplace_back(shell("exit " + std::to_string(i)));
  children.erase(children.begin());
  ChildProcess moved = std::move(children[0]);
  EXPECT_EQ(moved.wait(kTimeMax), 1);
  EXPECT_EQ(moved.command().arguments[2], "exit 1");
  children[0] = std::move(children[3]);
  EXPECT_EQ(children[0].wait(kTimeMax), 4);
}

TEST_F(ProcessTest, StopAllAsksAllAtOnceThenKillsWhoStays) {
  std::vector<ChildProcess> children;
  children.emplace_back(shell("trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done", path("a")));
  children.emplace_back(shell("trap '' TERM; echo ready; while :; do sleep 0.01; done", path("b")));
  children.emplace_back(shell("trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done", path("c")));
  children.emplace_back(shell("exit 3"));
  for (const char* name : {"a", "b", "c"}) await_text(path(name), "ready");
  ASSERT_EQ(children[3].wait(kTimeMax), 3);

  EXPECT_EQ(stop_all(children, 500ms), 1);
  EXPECT_EQ(children[0].poll(), 0);
  EXPECT_EQ(children[1].poll(), 128 + SIGKILL);
  EXPECT_EQ(children[2].poll(), 0);
  EXPECT_EQ(children[3].poll(), 3);
  EXPECT_EQ(stop_all(children, 500ms), 0);
}

TEST_F(ProcessTest, ProgramFolderIsThatOfThisProgram) {
  EXPECT_TRUE(std::filesystem::exists(program_folder() + "/test_unit_mesh"));
}

}  // namespace
}  // namespace bellwether::mesh
