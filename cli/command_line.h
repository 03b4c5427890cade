// Which command the first argument names.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bellwether::cli {

struct CliCommand {
  std::string_view name;
  std::string_view sentence;          // for `bellwether help`
  int (*run)(int argc, char** argv);  // argv[0] is the command's name; returns the exit status
};

// The text of `bellwether help`.
[[nodiscard]] std::string help_text(const std::vector<CliCommand>& commands);

// What is said about a first argument that is no command, with the nearest command if there is one.
[[nodiscard]] std::string unknown_command_text(std::string_view word, const std::vector<CliCommand>& commands);

// Runs the command that argv[1] names; help and version are answered here. Returns the exit status, 2 for a wrong
// command line.
int run_command_line(int argc, char** argv, const std::vector<CliCommand>& commands);

}  // namespace bellwether::cli
