#include "mesh/settings.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <utility>

#include "mesh/log.h"
#include "mesh/setting_file.h"
#include "mesh/setting_help.h"

namespace bellwether::mesh {
namespace {

constexpr size_t kHelpFlagColumnsMax = 34;

// Other programs' parts of the one file, which this program leaves alone.
constexpr std::array<std::string_view, 5> kSections = {"api_gateway", "scheduler", "autoscaler", "worker", "up"};
// A program that declares only some of the shared settings still takes a file that has them all.
constexpr std::array<std::string_view, 8> kSharedKeys = {
    "nats_url", "nats_credentials_file", "log_level",   "log_format", "http",
    "grpc",     "shutdown_grace_ms",     "allow_remote"};

constexpr std::string_view kVariablePrefix = "BELLWETHER_";
constexpr const char* kConfigVariable = "BELLWETHER_CONFIG";

bool contains(const auto& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string snake_case(std::string_view kebab_case) {
  std::string result(kebab_case);
  std::replace(result.begin(), result.end(), '-', '_');
  return result;
}

std::string upper_case(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return result;
}

}  // namespace

Settings::Settings(std::string program, std::string section, std::string summary)
    : program_(std::move(program)), section_(std::move(section)), summary_(std::move(summary)) {}

void Settings::add(std::string name, Target target, About about) {
  if (find(name) != nullptr || name == "config" || name == "help" || name == "version") {
    log::error("a setting is declared twice", {{"name", name}});
    std::abort();
  }
  std::string default_text = value_text(target);
  settings_.push_back({std::move(name), target, std::move(about), std::move(default_text)});
}

void Settings::add_positional(std::string name, std::string* target, std::string sentence, bool required) {
  positionals_.push_back({std::move(name), target, std::move(sentence), required});
}

Settings::Setting* Settings::find(std::string_view name) {
  for (Setting& setting : settings_) {
    if (setting.name == name) return &setting;
  }
  return nullptr;
}

std::string Settings::file_key(const Setting& setting) const {
  return setting.about.shared ? snake_case(setting.name) : section_ + "." + snake_case(setting.name);
}

std::string Settings::variable(const Setting& setting) const {
  const std::string name = setting.about.shared ? setting.name : section_ + "_" + setting.name;
  return std::string(kVariablePrefix) + upper_case(snake_case(name));
}

std::vector<std::string> Settings::flag_names() const {
  std::vector<std::string> names = {"--config", "--help", "--version"};
  for (const Setting& setting : settings_) {
    names.push_back("--" + setting.name);
    if (std::holds_alternative<bool*>(setting.target)) names.push_back("--no-" + setting.name);
  }
  return names;
}

Settings::Outcome Settings::parse(const std::vector<std::string>& arguments, const Environment& environment,
                                  std::string& out) {
  for (const std::string& argument : arguments) {
    if (argument == "--") break;
    if (argument == "--help" || argument == "-h") {
      out = help();
      return Outcome::kExit;
    }
    if (argument == "--version") {
      out = program_ + " " + BELLWETHER_VERSION + "\n";
      return Outcome::kExit;
    }
  }
  const CommandLine given = read_command_line(arguments);
  if (given.config_file) {
    read_file(*given.config_file, "--config");
  } else if (const auto found = environment.find(kConfigVariable);
             found != environment.end() && !found->second.empty()) {
    read_file(found->second, kConfigVariable);
  }
  read_environment(environment);
  apply_flags(given.flags);
  apply_positionals(given.positionals);
  return Outcome::kRun;
}

Settings::CommandLine Settings::read_command_line(const std::vector<std::string>& arguments) {
  CommandLine result;
  for (size_t position = 0; position < arguments.size(); ++position) {
    const std::string& argument = arguments[position];
    if (argument == "--") {
      result.positionals.insert(result.positionals.end(), arguments.begin() + static_cast<std::ptrdiff_t>(position) + 1,
                                arguments.end());
      break;
    }
    if (argument.size() > 1 && argument[0] == '-') {
      read_flag(arguments, position, result);
    } else {
      result.positionals.push_back(argument);
    }
  }
  return result;
}

// Reads the flag at `position`, and moves it on when the value is the next argument.
void Settings::read_flag(const std::vector<std::string>& arguments, size_t& position, CommandLine& result) {
  const std::string& argument = arguments[position];
  const size_t equals = argument.find('=');
  const std::string flag = argument.substr(0, equals);
  const std::string name = flag.starts_with("--") ? flag.substr(2) : "";
  const bool is_config = name == "config";
  Setting* setting = find(name);

  if (setting == nullptr && name.starts_with("no-") && equals == std::string::npos) {
    setting = find(name.substr(3));
    if (setting != nullptr && std::holds_alternative<bool*>(setting->target)) {
      result.flags.push_back({setting, flag, "false"});
      return;
    }
    setting = nullptr;
  }
  if (setting == nullptr && !is_config) reject_setting(flag, "unknown flag" + did_you_mean(flag, flag_names()));

  std::string value;
  if (equals != std::string::npos) {
    value = argument.substr(equals + 1);
  } else if (setting != nullptr && std::holds_alternative<bool*>(setting->target)) {
    value = "true";
  } else if (position + 1 == arguments.size()) {
    reject_setting(flag, "has no value");
  } else if (arguments[position + 1].starts_with("--")) {
    reject_setting(flag, fmt::format("has no value (one that begins with -- is written {}=VALUE)", flag));
  } else {
    value = arguments[++position];
  }
  if (is_config) {
    result.config_file = value;
  } else {
    result.flags.push_back({setting, flag, value});
  }
}

void Settings::read_file(const std::string& path, const std::string& origin) {
  const YAML::Node document = read_setting_file(path, origin);
  std::map<std::string, const Setting*> declared;
  for (const Setting& setting : settings_) declared.emplace(file_key(setting), &setting);

  const auto take = [&](const std::string& key, const YAML::Node& value) {
    if (const auto found = declared.find(key); found != declared.end()) {
      assign_node(found->second->target, found->second->about, value, path + ": " + key);
      return;
    }
    std::vector<std::string> known(kSections.begin(), kSections.end());
    for (const auto& [name, setting] : declared) known.push_back(name);
    reject_setting(path + ": " + printable(key), "unknown key" + did_you_mean(key, known));
  };
  const auto is_others = [&](const std::string& key) {
    return contains(kSections, key) || (contains(kSharedKeys, key) && !declared.contains(key));
  };
  for_each_entry(document, path, [&](const std::string& key, const YAML::Node& value) {
    if (key == section_) {
      for_each_entry(value, path + ": " + key, [&](const std::string& inner, const YAML::Node& inner_value) {
        take(section_ + "." + inner, inner_value);
      });
    } else if (!is_others(key)) {
      take(key, value);
    }
  });
}

void Settings::read_environment(const Environment& environment) {
  const std::string own_prefix = std::string(kVariablePrefix) + upper_case(section_) + "_";
  std::set<std::string> known;
  for (const Setting& setting : settings_) {
    const std::string name = *known.insert(variable(setting)).first;
    const auto found = environment.find(name);
    if (found == environment.end()) continue;
    if (auto* list = as_list(setting.target)) {
      list->clear();
      std::string_view rest = found->second;
      while (!rest.empty()) {
        const std::string_view element = rest.substr(0, rest.find(','));
        rest.remove_prefix(std::min(rest.size(), element.size() + 1));
        assign(setting.target, setting.about, std::string(element), name);
      }
    } else {
      assign(setting.target, setting.about, found->second, name);
    }
  }
  for (const auto& [name, value] : environment) {
    if (!name.starts_with(own_prefix) || known.contains(name)) continue;
    reject_setting(name, "unknown variable" + did_you_mean(name, {known.begin(), known.end()}));
  }
}

void Settings::apply_flags(const std::vector<GivenFlag>& flags) {
  std::set<const Setting*> seen;
  for (const GivenFlag& given : flags) {
    auto* list = as_list(given.setting->target);
    if (list != nullptr && seen.insert(given.setting).second) list->clear();
    assign(given.setting->target, given.setting->about, given.value, given.flag);
  }
}

void Settings::apply_positionals(const std::vector<std::string>& values) {
  if (values.size() > positionals_.size()) {
    reject_setting(values[positionals_.size()], "unexpected argument");
  }
  for (size_t i = 0; i < positionals_.size(); ++i) {
    if (i < values.size()) {
      *positionals_[i].target = values[i];
    } else if (positionals_[i].required) {
      reject_setting(positionals_[i].name, "is missing");
    }
  }
}

std::optional<int> Settings::parse_main(int argc, char** argv) {
  Environment environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (!text.starts_with(kVariablePrefix) || equals == std::string_view::npos) continue;
    environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  try {
    std::string out;
    if (parse({argv + std::min(argc, 1), argv + argc}, environment, out) == Outcome::kRun) return std::nullopt;
    fmt::print("{}", out);
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "{}: {}: {}\nTry '{} --help'.\n", program_, error.field(), error.what(), program_);
    return 2;
  }
}

std::string Settings::usage() const {
  std::string result = "Usage: " + program_ + " [OPTION]...";
  for (const Positional& positional : positionals_) {
    result += positional.required ? " " + positional.name : " [" + positional.name + "]";
  }
  return result + "\n";
}

std::string Settings::help() const {
  std::vector<HelpEntry> arguments;
  for (const Positional& positional : positionals_) arguments.push_back({positional.name, positional.sentence, ""});
  std::vector<HelpEntry> own;
  std::vector<HelpEntry> shared;
  for (const Setting& setting : settings_) {
    HelpEntry entry{flag_heading(setting.name, setting.target),
                    describe(setting.target, setting.about, setting.default_text),
                    fmt::format("[{}, {}]", file_key(setting), variable(setting))};
    (setting.about.shared ? shared : own).push_back(std::move(entry));
  }
  std::vector<HelpEntry> general = {
      {"--config FILE", "YAML file with settings; the environment and flags come before it", "[BELLWETHER_CONFIG]"},
      {"--help", "This text", ""},
      {"--version", "The program's version", ""}};

  size_t columns = 0;
  for (const std::vector<HelpEntry>* entries : {&arguments, &own, &shared, &general}) {
    for (const HelpEntry& entry : *entries) columns = std::max(columns, entry.heading.size());
  }
  columns = std::min(columns, kHelpFlagColumnsMax);
  return wrapped(program_ + ": " + summary_, 0) + "\n\n" + usage() + help_block("Arguments", arguments, columns) +
         help_block("Options", own, columns) + help_block("Options of every service", shared, columns) +
         help_block("General", general, columns) +
         "\nIn brackets: the key in the file, and the variable in the environment.\n";
}

}  // namespace bellwether::mesh
