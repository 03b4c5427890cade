// How --help writes settings.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mesh/setting_value.h"

namespace bellwether::mesh {

struct HelpEntry {
  std::string heading;  // the flag and the kind of its value
  std::string sentence;
  std::string sources;  // where else it can be set; empty = nowhere
};

// "--kv-blocks NUMBER", "--[no-]color".
[[nodiscard]] std::string flag_heading(const std::string& name, const SettingTarget& target);

// The sentence with choices, bounds and default.
[[nodiscard]] std::string describe(const SettingTarget& target, const SettingAbout& about,
                                   const std::string& default_text);

// A titled list, "" without entries; headings up to `heading_columns` share a line with their sentence.
[[nodiscard]] std::string help_block(const std::string& title, const std::vector<HelpEntry>& entries,
                                     size_t heading_columns);

// Lines of limited length, broken at spaces, each after the first indented.
[[nodiscard]] std::string wrapped(std::string_view text, size_t indent);

}  // namespace bellwether::mesh
