// JSON Schema's `format` of strings, as patterns.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bellwether::text::grammar {

// The pattern of a known format, to be matched whole; "" for an unknown one. It matches valid texts only, but not all:
// no leap seconds, no quoted local parts in addresses, only names and no addresses as a URI's host, ASCII only.
[[nodiscard]] std::string pattern_of_format(std::string_view format);

[[nodiscard]] std::vector<std::string_view> format_names();

}  // namespace bellwether::text::grammar
