// JSON to values, and values to JSON as Python's json.dumps writes it.
#pragma once

#include <optional>
#include <string>

#include <boost/json/value.hpp>

#include "text/jinja/value.h"

namespace bellwether::text::jinja {

struct JsonStyle {
  bool ascii = false;                      // everything else as \uXXXX
  std::optional<std::string> indent = {};  // given: every member on a line of its own
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sorts_keys = false;
};

// Throws RenderError for a value that JSON has no form for.
[[nodiscard]] std::string to_json_text(const Value& value, const JsonStyle& style, Budget& budget);

// An integer beyond 64 bits with sign becomes a float.
[[nodiscard]] Value from_json(const boost::json::value& json, Budget& budget);

}  // namespace bellwether::text::jinja
