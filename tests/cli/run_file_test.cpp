#include "cli/run_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "cli/temporary_folder.h"
#include "mesh/error.h"
#include "mesh/process.h"

namespace bellwether::cli {
namespace {

using testing::TemporaryFolder;

RunningMesh this_process(uint64_t started_unix_ms = 1) {
  return {.pid = getpid(),
          .process_start = process_start_of(getpid()).value(),
          .started_unix_ms = started_unix_ms,
          .nats_url = "nats://127.0.0.1:1",
          .http_url = "http://127.0.0.1:2"};
}

unsigned mode_of(const std::string& path) {
  struct stat about{};
  EXPECT_EQ(stat(path.c_str(), &about), 0);
  return about.st_mode & 0777U;
}

TEST(RunFile, IsFoundWhileItLives) {
  const TemporaryFolder temporary;
  const std::string folder = temporary.path() + "/run";
  {
    const RunFile file(folder, this_process());
    const auto found = find_running_mesh(folder);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->nats_url, "nats://127.0.0.1:1");
    EXPECT_EQ(found->http_url, "http://127.0.0.1:2");
    EXPECT_EQ(mode_of(folder), 0700U);
    for (const auto& entry : std::filesystem::directory_iterator(folder)) EXPECT_EQ(mode_of(entry.path()), 0600U);
  }
  EXPECT_FALSE(find_running_mesh(folder));
}

TEST(RunFile, OfAnEndedProcessIsIgnored) {
  const TemporaryFolder temporary;
  const std::string folder = temporary.path() + "/run";
  mesh::ChildProcess child(mesh::Command{{"/bin/sleep", "60"}, ""});
  RunningMesh mesh = this_process();
  mesh.pid = child.pid();
  mesh.process_start = process_start_of(child.pid()).value();
  const RunFile file(folder, mesh);
  EXPECT_TRUE(find_running_mesh(folder));
  child.signal(SIGKILL);
  ASSERT_TRUE(child.wait(std::chrono::seconds(10)));
  EXPECT_FALSE(find_running_mesh(folder));
}

TEST(RunFile, OfAnEarlierProcessWithTheSamePidIsIgnored) {
  const TemporaryFolder temporary;
  RunningMesh mesh = this_process();
  mesh.process_start += 1;
  const RunFile file(temporary.path() + "/run", mesh);
  EXPECT_FALSE(find_running_mesh(temporary.path() + "/run"));
}

TEST(RunFile, TheYoungestMeshIsTaken) {
  const TemporaryFolder temporary;
  const std::string folder = temporary.path() + "/run";
  mesh::ChildProcess child(mesh::Command{{"/bin/sleep", "60"}, ""});
  RunningMesh younger = this_process(2);
  younger.pid = child.pid();
  younger.process_start = process_start_of(child.pid()).value();
  younger.http_url = "http://younger";
  const RunFile first(folder, this_process(1));
  const RunFile second(folder, younger);
  EXPECT_EQ(find_running_mesh(folder)->http_url, "http://younger");
}

TEST(RunFile, PassesOverFilesThatAreNone) {
  const TemporaryFolder temporary;
  const std::string folder = temporary.path() + "/run";
  const RunFile file(folder, this_process());
  temporary.write("run/up-1.json", "{\"pid\":");
  temporary.write("run/up-2.json", "");
  temporary.write("run/up-3.json", "[1]");
  EXPECT_TRUE(find_running_mesh(folder));
}

TEST(RunFile, AFolderThatOthersCanWriteIsRefused) {
  const TemporaryFolder temporary;
  ASSERT_EQ(chmod(temporary.path().c_str(), 0777), 0);
  EXPECT_THROW(RunFile(temporary.path(), this_process()), mesh::Error);
  EXPECT_FALSE(find_running_mesh(temporary.path()));
}

}  // namespace
}  // namespace bellwether::cli
