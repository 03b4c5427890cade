// Members of values: value.name, value[key], value[from:to:step].
#pragma once

#include <string_view>

#include "text/jinja/value.h"

namespace bellwether::text::jinja {

// As Jinja looks them up: a name means a method before a key of a dict, a key in brackets the other way round. What is
// not there is undefined; a member of what is undefined is an error.
[[nodiscard]] Value attribute_of(const Value& object, std::string_view name, Budget& budget);
[[nodiscard]] Value item_of(const Value& object, const Value& key, Budget& budget);
// None: not given.
[[nodiscard]] Value slice_of(const Value& object, const Value& from, const Value& to, const Value& step,
                             Budget& budget);

// By a path: "function.name", "0", an integer.
[[nodiscard]] Value member_by_path(const Value& object, const Value& path, Budget& budget);

}  // namespace bellwether::text::jinja
