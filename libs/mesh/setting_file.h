// The YAML file of settings, read with limits.
#pragma once

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <set>
#include <string>

#include "mesh/setting_value.h"

namespace bellwether::mesh {

// The file's one document, null when it is empty. Throws Error{kInvalidArgument}: the field is `origin`, which named
// the file, or the place in it.
[[nodiscard]] YAML::Node read_setting_file(const std::string& path, const std::string& origin);

// The same in two steps, for other files. `path` names the text in errors.
[[nodiscard]] std::string read_text_file(const std::string& path, const std::string& origin, size_t bytes_max);
[[nodiscard]] YAML::Node parse_yaml_document(const std::string& text, const std::string& path);

// Calls `take(key, value)` for each entry of a map whose keys are distinct texts. `where` names the map, for errors.
template <class Take>
void for_each_entry(const YAML::Node& map, const std::string& where, Take take) {
  if (!map.IsDefined() || map.IsNull()) return;
  if (!map.IsMap()) reject_setting(where, "must be a map of keys to values");
  std::set<std::string> seen;
  for (const auto& entry : map) {
    if (!entry.first.IsScalar()) reject_setting(where, "has a key that is not text");
    const std::string& key = entry.first.Scalar();
    if (!seen.insert(key).second) reject_setting(where, fmt::format("has the key {} twice", shown(key)));
    take(key, entry.second);
  }
}

// As assign(), from a node of the file. A list's elements replace those it had.
void assign_node(const SettingTarget& target, const SettingAbout& about, const YAML::Node& node,
                 const std::string& origin);

}  // namespace bellwether::mesh
