// Tests: value is name, value is name(arguments).
#pragma once

#include <string_view>

#include "text/jinja/value.h"

namespace bellwether::text::jinja {

struct ValueTest {
  std::string_view name;
  bool (*holds)(const Value& input, const Arguments& arguments, Budget& budget);
};

// nullptr for an unknown name. All of Jinja's, but `escaped`.
[[nodiscard]] const ValueTest* find_test(std::string_view name);

}  // namespace bellwether::text::jinja
