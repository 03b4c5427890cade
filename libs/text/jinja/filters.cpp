#include "text/jinja/filters.h"

#include "text/jinja/filter_tables.h"

namespace bellwether::text::jinja {

const Filter* find_filter(std::string_view name) {
  for (const auto& table : {text_filters(), number_filters(), item_filters(), selecting_filters()}) {
    for (const Filter& filter : table) {
      if (filter.name == name) return &filter;
    }
  }
  return nullptr;
}

}  // namespace bellwether::text::jinja
