// Filters: value | name(arguments).
#pragma once

#include <string_view>

#include "text/jinja/value.h"

namespace bellwether::text::jinja {

struct Filter {
  std::string_view name;
  Value (*apply)(const Value& input, const Arguments& arguments, Budget& budget);
};

// nullptr for an unknown name. Those of Jinja that chat templates use, tojson as transformers has it.
[[nodiscard]] const Filter* find_filter(std::string_view name);

}  // namespace bellwether::text::jinja
