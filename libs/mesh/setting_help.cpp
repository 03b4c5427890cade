#include "mesh/setting_help.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace bellwether::mesh {
namespace {

constexpr size_t kHelpColumns = 100;

}  // namespace

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

std::string flag_heading(const std::string& name, const SettingTarget& target) {
  if (std::holds_alternative<bool*>(target)) return "--[no-]" + name;
  const bool number = std::holds_alternative<int64_t*>(target) || std::holds_alternative<double*>(target);
  return fmt::format("--{} {}", name, number ? "NUMBER" : "TEXT");
}

std::string describe(const SettingTarget& target, const SettingAbout& about, const std::string& default_text) {
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

}  // namespace bellwether::mesh
