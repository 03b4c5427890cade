// One setting's value: its type, its bounds, and how it is read from text.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bellwether::mesh {

// What --help says about one setting, and what its value may be.
struct SettingAbout {
  std::string sentence;                                   // what it does; without the unit, ends with no full stop
  std::string unit = {};                                  // "ms", "tokens", ...; empty = none
  double min = -std::numeric_limits<double>::infinity();  // numbers only, inclusive
  double max = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices = {};  // strings only; empty = any
  bool shared = false;
  bool secret = false;  // its value never appears in help, logs or errors
};
// What a flag, variable or key is written into: where its default comes from, too.
using SettingTarget = std::variant<std::string*, bool*, int64_t*, double*, std::vector<std::string>*>;

// `origin` names where a text came from. Throws Error{kInvalidArgument} with it as the field.
[[noreturn]] void reject_setting(const std::string& origin, const std::string& message);

// Writes what the text says; a list grows by one. Throws Error{kInvalidArgument} when it breaks what `about` says.
void assign(const SettingTarget& target, const SettingAbout& about, const std::string& text, const std::string& origin);

// nullptr when the target is no list.
[[nodiscard]] std::vector<std::string>* as_list(const SettingTarget& target);

[[nodiscard]] std::string value_text(const SettingTarget& target);
[[nodiscard]] std::string bounds_text(const SettingAbout& about);  // "1 to 20 ms"; "" without any

// Of a text from outside what an error may repeat: short, and nothing in it that a terminal would act on. In quotes
// or, for keys, without.
[[nodiscard]] std::string shown(std::string_view text);
[[nodiscard]] std::string printable(std::string_view text);

// "; did you mean X?", or "" when no candidate is near.
[[nodiscard]] std::string did_you_mean(std::string_view text, const std::vector<std::string>& candidates);

}  // namespace bellwether::mesh
