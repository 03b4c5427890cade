#include "text/jinja/arguments.h"

#include <fmt/format.h>

#include <algorithm>

namespace bellwether::text::jinja {

BoundArguments::BoundArguments(std::string_view function, const Arguments& arguments,
                               std::initializer_list<std::string_view> names)
    : function_(function), names_(names), bound_(names.size(), nullptr) {
  if (arguments.positional.size() > names_.size()) {
    throw RenderError(fmt::format("{}() takes at most {} arguments", function_, names_.size()));
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) bound_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(names_.begin(), names_.end(), name);
    if (found == names_.end()) throw RenderError(fmt::format("{}() has no argument '{}'", function_, name));
    const Value*& bound = bound_[static_cast<size_t>(found - names_.begin())];
    if (bound != nullptr) throw RenderError(fmt::format("{}() is given '{}' twice", function_, name));
    bound = &value;
  }
}

void BoundArguments::fail(size_t i, std::string_view expected) const {
  throw RenderError(
      fmt::format("{}(): '{}' must be {}, not {}", function_, names_[i], expected, type_name(*bound_[i])));
}

const Value& BoundArguments::require(size_t i) const {
  if (bound_[i] == nullptr) throw RenderError(fmt::format("{}() needs the argument '{}'", function_, names_[i]));
  return *bound_[i];
}

const std::string& BoundArguments::require_text(size_t i) const {
  const std::string* const text = require(i).if_text();
  if (text == nullptr) fail(i, "a string");
  return *text;
}

std::optional<std::string_view> BoundArguments::text(size_t i) const {
  if (bound_[i] == nullptr || bound_[i]->is_none()) return std::nullopt;
  return require_text(i);
}

std::optional<int64_t> BoundArguments::integer(size_t i) const {
  if (bound_[i] == nullptr || bound_[i]->is_none()) return std::nullopt;
  int64_t room = 0;
  const int64_t* const integer = bound_[i]->if_integer(room);
  if (integer == nullptr) fail(i, "an integer");
  return *integer;
}

bool BoundArguments::is_true(size_t i) const {
  return bound_[i] != nullptr && jinja::is_true(*bound_[i]);
}

}  // namespace bellwether::text::jinja
