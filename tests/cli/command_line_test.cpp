#include "cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "mesh/error.h"
#include "mesh/suggestion.h"

namespace bellwether::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

int arguments_seen = 0;
std::string last_argument;

int record(int argc, char** argv) {
  arguments_seen = argc;
  last_argument = argv[argc - 1];
  return 5;
}

int reject(int, char**) {
  throw mesh::Error(mesh::ErrorCode::kInvalidArgument, "bad");
}
int break_down(int, char**) {
  throw mesh::Error(mesh::ErrorCode::kUnavailable, "gone");
}

const std::vector<CliCommand> kCommands = {{"up", "Starts", &record},
                                           {"chat", "Talks", &record},
                                           {"status", "Shows", &record},
                                           {"reject", "", &reject},
                                           {"break", "", &break_down}};

int run(std::vector<std::string> words) {
  arguments_seen = 0;
  words.insert(words.begin(), "bellwether");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  return run_command_line(static_cast<int>(words.size()), argv.data(), kCommands);
}

TEST(CommandLine, HandsTheRestToTheCommand) {
  EXPECT_EQ(run({"chat", "--url", "http://x"}), 5);
  EXPECT_EQ(arguments_seen, 3);
  EXPECT_EQ(last_argument, "http://x");
}

TEST(CommandLine, HelpOfACommandIsItsHelpFlag) {
  EXPECT_EQ(run({"help", "up"}), 5);
  EXPECT_EQ(arguments_seen, 2);
  EXPECT_EQ(last_argument, "--help");
}

TEST(CommandLine, AnswersHelpAndVersionItself) {
  EXPECT_EQ(run({"help"}), 0);
  EXPECT_EQ(run({"--help"}), 0);
  EXPECT_EQ(run({"--version"}), 0);
  EXPECT_EQ(arguments_seen, 0);
}

TEST(CommandLine, AWrongCommandLineIsStatus2) {
  EXPECT_EQ(run({}), 2);
  EXPECT_EQ(run({"statsu"}), 2);
  EXPECT_EQ(run({"help", "nonsense"}), 2);
  EXPECT_EQ(run({"reject"}), 2);
}

TEST(CommandLine, AFailureIsStatus1) {
  EXPECT_EQ(run({"break"}), 1);
}

TEST(CommandLine, HelpNamesEveryCommand) {
  const std::string help = help_text(kCommands);
  for (const CliCommand& command : kCommands) EXPECT_THAT(help, HasSubstr(std::string(command.name)));
}

TEST(CommandLine, AnUnknownCommandIsToldTheNearest) {
  EXPECT_THAT(unknown_command_text("statsu", kCommands), HasSubstr("Did you mean \"status\"?"));
  EXPECT_THAT(unknown_command_text("serve", kCommands), Not(HasSubstr("Did you mean")));
}

TEST(ClosestChoice, TakesTypingMistakesOnly) {
  const std::vector<std::string_view> choices = {"up", "chat", "status"};
  EXPECT_EQ(mesh::closest_choice("chta", choices), "chat");   // two neighbours swapped
  EXPECT_EQ(mesh::closest_choice("chatt", choices), "chat");  // one too many
  EXPECT_EQ(mesh::closest_choice("cat", choices), "chat");    // one missing
  EXPECT_EQ(mesh::closest_choice("pu", choices), "up");
  EXPECT_EQ(mesh::closest_choice("statuses", choices), "status");
  EXPECT_EQ(mesh::closest_choice("xy", choices), std::nullopt);
  EXPECT_EQ(mesh::closest_choice("", choices), std::nullopt);
  EXPECT_EQ(mesh::closest_choice(std::string(1000, 'c'), choices), std::nullopt);
}

}  // namespace
}  // namespace bellwether::cli
