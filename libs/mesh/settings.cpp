#include "mesh/settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>
#include <yaml-cpp/anchor.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "mesh/log.h"

namespace bellwether::mesh {
namespace {

constexpr size_t kFileBytesMax = size_t{256} * 1024;
constexpr size_t kShownBytesMax = 80;  // of a value in an error
constexpr size_t kHelpColumns = 100;
constexpr size_t kHelpFlagColumnsMax = 34;

// Other programs' parts of the one file, which this program leaves alone.
constexpr std::array<std::string_view, 5> kSections = {"api_gateway", "scheduler", "autoscaler", "worker", "up"};
// A program that declares only some of the shared settings still takes a file that has them all.
constexpr std::array<std::string_view, 8> kSharedKeys = {
    "nats_url", "nats_credentials_file", "log_level",   "log_format", "http",
    "grpc",     "shutdown_grace_ms",     "allow_remote"};

constexpr std::string_view kVariablePrefix = "BELLWETHER_";
constexpr const char* kConfigVariable = "BELLWETHER_CONFIG";

[[noreturn]] void reject(const std::string& origin, const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, message, origin);
}

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

// Of a text from outside what an error may repeat: short, and nothing in it that a terminal would act on.
std::string printable(std::string_view text) {
  std::string result(text.substr(0, kShownBytesMax));
  for (char& c : result) {
    if (std::iscntrl(static_cast<unsigned char>(c)) != 0) c = '?';
  }
  return text.size() > kShownBytesMax ? result + "..." : result;
}

std::string shown(std::string_view text) {
  return "'" + printable(text) + "'";
}

// Edits (one character inserted, deleted or replaced) from one text to the other.
size_t edit_distance(std::string_view from, std::string_view to) {
  std::vector<size_t> row(to.size() + 1);
  for (size_t j = 0; j <= to.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= from.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= to.size(); ++j) {
      const size_t replaced = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

// "; did you mean X?" for the nearest candidate, or "" when none is near.
std::string did_you_mean(std::string_view text, const std::vector<std::string>& candidates) {
  const std::string_view start = text.substr(0, kShownBytesMax);  // longer ones resemble nothing, at any cost
  size_t nearest = std::max<size_t>(2, start.size() / 4) + 1;
  std::string_view best;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(start, candidate);
    if (distance < nearest) {
      nearest = distance;
      best = candidate;
    }
  }
  return best.empty() ? "" : fmt::format("; did you mean {}?", best);
}

// 10000000 rather than 1e+07.
std::string number_text(double number) {
  static constexpr double kExactMax = 1e15;
  if (std::trunc(number) == number && std::abs(number) < kExactMax) return fmt::format("{}", int64_t(number));
  return fmt::format("{}", number);
}

std::string bounds_text(const Settings::About& about) {
  const std::string unit = about.unit.empty() ? "" : " " + about.unit;
  if (std::isfinite(about.min) && std::isfinite(about.max)) {
    return fmt::format("{} to {}{}", number_text(about.min), number_text(about.max), unit);
  }
  if (std::isfinite(about.min)) return fmt::format("at least {}{}", number_text(about.min), unit);
  if (std::isfinite(about.max)) return fmt::format("at most {}{}", number_text(about.max), unit);
  return about.unit.empty() ? "" : "in " + about.unit;
}

template <class Number>
Number parse_number(const std::string& text, const Settings::About& about, const std::string& origin) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stopped != end || !std::isfinite(static_cast<double>(number))) {
    const char* kind = std::is_integral_v<Number> ? "whole number" : "number";
    reject(origin, about.secret ? fmt::format("is not a {}", kind) : fmt::format("{} is not a {}", shown(text), kind));
  }
  const auto value = static_cast<double>(number);
  if (value < about.min || value > about.max) {
    const std::string bounds = bounds_text(about);
    reject(origin, about.secret ? "must be " + bounds : fmt::format("must be {}, not {}", bounds, text));
  }
  return number;
}

bool parse_boolean(const std::string& text, const Settings::About& about, const std::string& origin) {
  for (const std::string_view yes : {"true", "yes", "on", "1"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"false", "no", "off", "0"}) {
    if (text == no) return false;
  }
  reject(origin, about.secret ? "must be true or false" : fmt::format("must be true or false, not {}", shown(text)));
}

std::string parse_text(const std::string& text, const Settings::About& about, const std::string& origin) {
  if (about.choices.empty() || contains(about.choices, text)) return text;
  const std::string one_of = fmt::format("must be one of {}", fmt::join(about.choices, ", "));
  if (about.secret) reject(origin, one_of);
  reject(origin, fmt::format("{}, not {}{}", one_of, shown(text), did_you_mean(text, about.choices)));
}

// `origin` names where the text came from, for errors. A list grows by one; all else is replaced.
void assign(const Settings::Target& target, const Settings::About& about, const std::string& text,
            const std::string& origin) {
  if (auto* const* as_text = std::get_if<std::string*>(&target)) {
    **as_text = parse_text(text, about, origin);
  } else if (auto* const* as_boolean = std::get_if<bool*>(&target)) {
    **as_boolean = parse_boolean(text, about, origin);
  } else if (auto* const* as_integer = std::get_if<int64_t*>(&target)) {
    **as_integer = parse_number<int64_t>(text, about, origin);
  } else if (auto* const* as_number = std::get_if<double*>(&target)) {
    **as_number = parse_number<double>(text, about, origin);
  } else {
    std::get<std::vector<std::string>*>(target)->push_back(parse_text(text, about, origin));
  }
}

std::vector<std::string>* as_list(const Settings::Target& target) {
  auto* const* list = std::get_if<std::vector<std::string>*>(&target);
  return list == nullptr ? nullptr : *list;
}

std::string value_text(const Settings::Target& target) {
  if (auto* const* as_text = std::get_if<std::string*>(&target)) return **as_text;
  if (auto* const* as_boolean = std::get_if<bool*>(&target)) return **as_boolean ? "true" : "false";
  if (auto* const* as_integer = std::get_if<int64_t*>(&target)) return fmt::format("{}", **as_integer);
  if (auto* const* as_number = std::get_if<double*>(&target)) return number_text(**as_number);
  return fmt::format("{}", fmt::join(*as_list(target), ","));
}

std::string read_limited(const std::string& path, const std::string& origin) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad()) reject(origin, "cannot read the file " + shown(path));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kFileBytesMax) {
    reject(origin, fmt::format("the file {} is larger than {} bytes", shown(path), kFileBytesMax));
  }
  return text;
}

// Hears of a document and does nothing.
class Ignore : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

// The file's one document, null when it is empty. YAML::LoadAll would find documents without end in the text ",".
YAML::Node parse_document(const std::string& text, const std::string& path) {
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    Ignore ignore;
    const bool several = parser.HandleNextDocument(ignore) && parser.HandleNextDocument(ignore);
    if (several) reject(path, "has more than one YAML document");
    return YAML::Load(text);
  } catch (const YAML::Exception& error) {
    reject(fmt::format("{}:{}:{}", path, error.mark.line + 1, error.mark.column + 1), "is not YAML: " + error.msg);
  }
}

// Calls `take(key, value)` for each entry of a map whose keys are distinct texts. `where` names the map, for errors.
template <class Take>
void for_each_entry(const YAML::Node& map, const std::string& where, Take take) {
  if (!map.IsDefined() || map.IsNull()) return;
  if (!map.IsMap()) reject(where, "must be a map of keys to values");
  std::set<std::string> seen;
  for (const auto& entry : map) {
    if (!entry.first.IsScalar()) reject(where, "has a key that is not text");
    const std::string& key = entry.first.Scalar();
    if (!seen.insert(key).second) reject(where, fmt::format("has the key {} twice", shown(key)));
    take(key, entry.second);
  }
}

void assign_node(const Settings::Target& target, const Settings::About& about, const YAML::Node& node,
                 const std::string& origin) {
  if (auto* list = as_list(target)) {
    if (!node.IsSequence()) reject(origin, "must be a list");
    list->clear();
    for (const auto& element : node) {
      if (!element.IsScalar()) reject(origin, "must be a list of texts");
      assign(target, about, element.Scalar(), origin);
    }
    return;
  }
  if (node.IsNull()) reject(origin, "has no value");
  if (!node.IsScalar()) reject(origin, "must be a single value");
  assign(target, about, node.Scalar(), origin);
}

// Lines of at most kHelpColumns, broken at spaces, each after the first indented.
std::string wrapped(std::string_view text, size_t indent) {
  std::string result;
  size_t column = indent;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (column > indent && column + 1 + word.size() > kHelpColumns) {
      result += '\n' + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      result += ' ';
      ++column;
    }
    result += word;
    column += word.size();
  }
  return result;
}

struct HelpEntry {
  std::string heading;  // the flag and the kind of its value
  std::string sentence;
  std::string sources;  // where else it can be set; empty = nowhere
};

std::string help_block(const std::string& title, const std::vector<HelpEntry>& entries, size_t heading_columns) {
  if (entries.empty()) return "";
  const size_t indent = heading_columns + 4;
  std::string result = "\n" + title + ":\n";
  for (const HelpEntry& entry : entries) {
    const bool fits = entry.heading.size() <= heading_columns;
    result += fmt::format("  {:<{}}", entry.heading, fits ? heading_columns + 2 : entry.heading.size());
    if (!fits) result += '\n' + std::string(indent, ' ');
    result += wrapped(entry.sentence, indent) + '\n';
    if (!entry.sources.empty()) result += std::string(indent, ' ') + wrapped(entry.sources, indent) + '\n';
  }
  return result;
}

std::string flag_heading(const std::string& name, const Settings::Target& target) {
  if (std::holds_alternative<bool*>(target)) return "--[no-]" + name;
  const bool number = std::holds_alternative<int64_t*>(target) || std::holds_alternative<double*>(target);
  return fmt::format("--{} {}", name, number ? "NUMBER" : "TEXT");
}

std::string describe(const Settings::Target& target, const Settings::About& about, const std::string& default_text) {
  std::vector<std::string> details;
  if (!about.choices.empty()) details.push_back(fmt::format("one of {}", fmt::join(about.choices, ", ")));
  if (const std::string bounds = bounds_text(about); !bounds.empty()) details.push_back(bounds);
  if (as_list(target) != nullptr) details.emplace_back("may be repeated");
  if (default_text.empty()) {
    details.emplace_back("default: none");
  } else {
    details.push_back("default: " + (about.secret ? "not shown" : default_text));
  }
  return fmt::format("{} ({})", about.sentence, fmt::join(details, "; "));
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
  if (setting == nullptr && !is_config) reject(flag, "unknown flag" + did_you_mean(flag, flag_names()));

  std::string value;
  if (equals != std::string::npos) {
    value = argument.substr(equals + 1);
  } else if (setting != nullptr && std::holds_alternative<bool*>(setting->target)) {
    value = "true";
  } else if (position + 1 == arguments.size()) {
    reject(flag, "has no value");
  } else if (arguments[position + 1].starts_with("--")) {
    reject(flag, fmt::format("has no value (one that begins with -- is written {}=VALUE)", flag));
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
  const YAML::Node document = parse_document(read_limited(path, origin), path);
  std::map<std::string, const Setting*> declared;
  for (const Setting& setting : settings_) declared.emplace(file_key(setting), &setting);

  const auto take = [&](const std::string& key, const YAML::Node& value) {
    if (const auto found = declared.find(key); found != declared.end()) {
      assign_node(found->second->target, found->second->about, value, path + ": " + key);
      return;
    }
    std::vector<std::string> known(kSections.begin(), kSections.end());
    for (const auto& [name, setting] : declared) known.push_back(name);
    reject(path + ": " + printable(key), "unknown key" + did_you_mean(key, known));
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
    reject(name, "unknown variable" + did_you_mean(name, {known.begin(), known.end()}));
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
    reject(values[positionals_.size()], "unexpected argument");
  }
  for (size_t i = 0; i < positionals_.size(); ++i) {
    if (i < values.size()) {
      *positionals_[i].target = values[i];
    } else if (positionals_[i].required) {
      reject(positionals_[i].name, "is missing");
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
