// The functions that a model may call, as a request lists them.
#pragma once

#include <string>
#include <vector>

#include <boost/json/value.hpp>

#include "api-gateway/json_fields.h"

namespace bellwether::gateway {

struct ToolChoice {
  enum class Kind { kNone, kAuto, kRequired, kNamed };
  Kind kind = Kind::kNone;
  std::string name = {};  // kNamed: the function that must be called
};

struct ToolUse {
  std::vector<boost::json::value> tools = {};  // {"type":"function","function":{...}}; empty when none may be called
  ToolChoice choice = {};
  bool parallel = true;  // more than one call in an answer
};

// `tools`, `tool_choice` and `parallel_tool_calls` as in a chat request.
[[nodiscard]] ToolUse parse_tool_use(const JsonFields& body);

// REQUIRES: nothing. Throws when `function` is no definition of a function ("name", "description", "parameters",
// "strict").
void check_function(const JsonFields& function);

// Throws, naming `path`, when a tool before the last has the last one's name.
void check_new_name(const std::vector<boost::json::value>& tools, const std::string& path);

// Throws, naming `path`, when the choice cannot be honoured with these tools.
void check_tool_choice(const ToolUse& use, const std::string& path);

}  // namespace bellwether::gateway
