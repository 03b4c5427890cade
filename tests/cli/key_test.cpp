#include "cli/key/key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "cli/temporary_folder.h"
#include "mesh/error.h"
#include "mesh/sha256.h"

namespace bellwether::cli {
namespace {

using bellwether::testing::TemporaryFolder;
using ::testing::StartsWith;

struct Made {
  int status = 0;
  std::string out;
  std::string err;
};

Made run(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "key");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  Made made;
  try {
    made.status = run_key(static_cast<int>(argv.size()), argv.data());
  } catch (const mesh::Error& error) {
    made.status = 2;
    made.err = error.field();
  }
  made.out = ::testing::internal::GetCapturedStdout();
  made.err += ::testing::internal::GetCapturedStderr();
  return made;
}

std::string secret_in(const std::string& text) {
  return text.substr(text.find("bw-"), 43);
}

TEST(KeyCommand, PrintsAnEntryThatKnowsTheKey) {
  const Made made = run({"new", "--tenant", "shop", "--model", "deepseek-*", "--model", "nano", "--tokens-per-minute",
                         "500", "--concurrency", "3", "--priority=-2"});
  EXPECT_EQ(made.status, 0);
  const auto keys = mesh::parse_api_keys("keys:\n" + made.out, "k");
  ASSERT_EQ(keys.size(), 1U);
  EXPECT_THAT(keys[0].id, StartsWith("shop-"));
  EXPECT_EQ(keys[0].tenant, "shop");
  EXPECT_EQ(keys[0].models, (std::vector<std::string>{"deepseek-*", "nano"}));
  EXPECT_EQ(keys[0].tokens_per_minute, 500);
  EXPECT_EQ(keys[0].concurrency, 3);
  EXPECT_EQ(keys[0].priority, -2);
  EXPECT_EQ(keys[0].sha256, mesh::sha256_hex(secret_in(made.err)));
  EXPECT_EQ(made.out.find("bw-"), std::string::npos);
}

TEST(KeyCommand, AddsToAFile) {
  const TemporaryFolder folder;
  const std::string file = folder.path() + "/keys.yaml";
  EXPECT_EQ(run({"new", "--tenant", "a", "--file", file}).status, 0);
  EXPECT_EQ(run({"new", "--tenant", "b", "--id", "mine", "--file", file}).status, 0);
  const auto text = [&] {
    std::ifstream in(file);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const std::string before = text();
  const auto keys = mesh::parse_api_keys(before, file);
  ASSERT_EQ(keys.size(), 2U);
  EXPECT_EQ(keys[1].id, "mine");
  const auto permissions = std::filesystem::status(file).permissions();
  EXPECT_EQ(permissions & std::filesystem::perms::others_all, std::filesystem::perms::none);
  const Made twice = run({"new", "--tenant", "b", "--id", "mine", "--file", file});
  EXPECT_EQ(twice.status, 2);
  EXPECT_EQ(text(), before);
}

TEST(KeyCommand, MistakesAreNamed) {
  EXPECT_THAT(run({"new"}).err, StartsWith("--tenant"));
  EXPECT_EQ(run({"old", "--tenant", "a"}).status, 2);
  EXPECT_EQ(run({}).status, 2);
  EXPECT_THAT(run({"new", "--tenant", "a b"}).err, StartsWith("the key.id"));
  EXPECT_EQ(run({"new", "--tenant", "a", "--concurrency", "-1"}).status, 2);
  EXPECT_EQ(run({"new", "--tenant", "a", "--file", "/no/such/folder/keys.yaml"}).status, 2);
}

}  // namespace
}  // namespace bellwether::cli
