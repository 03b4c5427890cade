#include "cli/command_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>

#include "mesh/error.h"
#include "mesh/suggestion.h"

namespace bellwether::cli {
namespace {

constexpr int kWrongCommandLine = 2;

void print(std::FILE* out, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), out);
}

const CliCommand* find_command(std::string_view name, const std::vector<CliCommand>& commands) {
  const auto found =
      std::find_if(commands.begin(), commands.end(), [&](const CliCommand& c) { return c.name == name; });
  return found == commands.end() ? nullptr : &*found;
}

int run_guarded(const CliCommand& command, int argc, char** argv) {
  try {
    return command.run(argc, argv);
  } catch (const mesh::Error& error) {
    const std::string field = error.field().empty() ? "" : error.field() + ": ";
    print(stderr, fmt::format("bellwether {}: {}{}\n", command.name, field, error.what()));
    return error.code() == mesh::ErrorCode::kInvalidArgument ? kWrongCommandLine : 1;
  }
}

}  // namespace

std::string help_text(const std::vector<CliCommand>& commands) {
  size_t width = 0;
  for (const CliCommand& command : commands) width = std::max(width, command.name.size());
  std::string text =
      "Bellwether serves large language models across machines.\n\nUsage: bellwether COMMAND [OPTIONS]\n\n";
  for (const CliCommand& command : commands) {
    text += fmt::format("  {:<{}}  {}\n", command.name, width, command.sentence);
  }
  text += "\n`bellwether COMMAND --help` explains a command, `bellwether --version` names the version.\n";
  return text;
}

std::string unknown_command_text(std::string_view word, const std::vector<CliCommand>& commands) {
  std::vector<std::string_view> names;
  for (const CliCommand& command : commands) names.push_back(command.name);
  const auto closest = mesh::closest_choice(word, names);
  return fmt::format("bellwether: there is no command \"{}\".{} See `bellwether help`.\n", word,
                     closest ? fmt::format(" Did you mean \"{}\"?", *closest) : "");
}

int run_command_line(int argc, char** argv, const std::vector<CliCommand>& commands) {
  if (argc < 2) {
    print(stderr, help_text(commands));
    return kWrongCommandLine;
  }
  const std::string_view word = argv[1];
  if (word == "--version") {
    print(stdout, fmt::format("bellwether {}\n", BELLWETHER_VERSION));
    return 0;
  }
  if (word == "--help" || word == "-h" || (word == "help" && argc == 2)) {
    print(stdout, help_text(commands));
    return 0;
  }
  const bool asks_help = word == "help";
  const std::string_view name = asks_help ? std::string_view(argv[2]) : word;
  const CliCommand* command = find_command(name, commands);
  if (command == nullptr) {
    print(stderr, unknown_command_text(name, commands));
    return kWrongCommandLine;
  }
  if (!asks_help) return run_guarded(*command, argc - 1, argv + 1);
  std::string help_flag = "--help";
  char* help_arguments[] = {argv[2], help_flag.data(), nullptr};
  return run_guarded(*command, 2, help_arguments);
}

}  // namespace bellwether::cli
