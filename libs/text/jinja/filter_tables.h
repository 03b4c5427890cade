// The filters by subject: what filters.cpp looks names up in.
#pragma once

#include <span>

#include "text/jinja/filters.h"

namespace bellwether::text::jinja {

[[nodiscard]] std::span<const Filter> text_filters();
[[nodiscard]] std::span<const Filter> number_filters();
[[nodiscard]] std::span<const Filter> item_filters();       // of lists and dicts
[[nodiscard]] std::span<const Filter> selecting_filters();  // map, select and the like: filters and tests of each item

}  // namespace bellwether::text::jinja
