// Calls of functions, in DeepSeek's forms (tool_calls.h).
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat_format.h"
#include "text/grammar/nfa.h"

namespace bellwether::text::grammar {

struct ToolFunction {
  std::string name;
  std::string parameters = {};  // a JSON schema of type object; "" = any object
};

struct ToolCallGrammar {
  std::vector<ToolFunction> functions;  // that may be called, at least one
  ToolCallForm form = ToolCallForm::kFenced;
  bool is_parallel = true;  // there may be more than one call
};

// Adds one call, or several, with their section's markers, and returns the state after them. `is_marker`: whether a
// marker is a token of its own. Throws GrammarError; where() begins with "/functions/I/parameters" for a schema at
// fault.
[[nodiscard]] State append_tool_calls(Nfa& nfa, State from, const ToolCallGrammar& grammar,
                                      const std::function<bool(std::string_view)>& is_marker);

}  // namespace bellwether::text::grammar
