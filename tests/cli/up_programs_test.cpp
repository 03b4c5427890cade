#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "cli/temporary_folder.h"
#include "cli/up/log_folder.h"
#include "cli/up/programs.h"
#include "mesh/error.h"

namespace bellwether::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing::TemporaryFolder;

constexpr bool kExecutable = true;

template <class Action>
std::string error_of(Action action) {
  try {
    static_cast<void>(action());
  } catch (const mesh::Error& error) {
    return error.field() + ": " + error.what();
  }
  return "";
}

TEST(FindPrograms, TakesTheSiblings) {
  const TemporaryFolder folder;
  for (const char* name :
       {"bellwether-api-gateway", "bellwether-scheduler", "bellwether-autoscaler", "bellwether-worker"}) {
    EXPECT_THAT(error_of([&] { return find_programs(folder.path()); }), HasSubstr(std::string(name) + " is missing"));
    static_cast<void>(folder.write(name, "", kExecutable));
  }
  EXPECT_EQ(find_programs(folder.path()).worker, folder.path() + "/bellwether-worker");
}

TEST(FindNatsServer, PrefersThePath) {
  const TemporaryFolder folder;
  const std::string own = folder.write("nats-server", "", kExecutable);
  EXPECT_EQ(find_nats_server("/nowhere:" + folder.path() + "::"), own);
}

TEST(FindNatsServer, PassesOverFilesThatAreNoPrograms) {
  const TemporaryFolder folder;
  static_cast<void>(folder.write("nats-server", ""));
  EXPECT_NE(find_nats_server(folder.path()), folder.path() + "/nats-server");
}

TEST(FindDemoModel, PrefersTheInstalledOne) {
  const TemporaryFolder folder;
  EXPECT_EQ(find_demo_model(folder.path() + "/bin"), BELLWETHER_DEMO_MODEL);
  static_cast<void>(folder.write("share/bellwether/models/bellwether-nano/config.json", "{}"));
  EXPECT_EQ(find_demo_model(folder.path() + "/bin"), folder.path() + "/share/bellwether/models/bellwether-nano");
}

TEST(RequireModel, NamesTheFlag) {
  EXPECT_THAT(error_of([] { return require_model("/no/such/model"); }), HasSubstr("--model: /no/such/model"));
  EXPECT_EQ(require_model(std::string(BELLWETHER_DEMO_MODEL) + "/"), BELLWETHER_DEMO_MODEL);
}

TEST(LogFolder, IsFreshOrAsChosen) {
  const TemporaryFolder folder;
  ASSERT_EQ(setenv("XDG_STATE_HOME", (folder.path() + "/state").c_str(), 1), 0);
  const std::string first = make_log_folder("");
  const std::string second = make_log_folder("");
  ASSERT_EQ(unsetenv("XDG_STATE_HOME"), 0);
  EXPECT_THAT(first, StartsWith(folder.path() + "/state/bellwether-up-"));
  EXPECT_NE(first, second);
  EXPECT_EQ(make_log_folder(folder.path() + "/a/b"), folder.path() + "/a/b");
  EXPECT_THAT(error_of([] { return make_log_folder("/proc/nothing"); }), HasSubstr("--log-folder"));
}

}  // namespace
}  // namespace bellwether::cli
