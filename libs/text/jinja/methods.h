// The methods of Python's str, dict and list that do not
// change them, and those of loop.
#pragma once

#include <optional>
#include <string_view>

#include "text/jinja/value.h"

namespace bellwether::text::jinja {

// One of any type has this name: those of loop, too.
[[nodiscard]] bool is_method(std::string_view name);
// The method of this value, bound to it; nullopt when its type has none of this name.
[[nodiscard]] std::optional<Value> find_method(const Value& value, std::string_view name, Budget& budget);

}  // namespace bellwether::text::jinja
