// What a text must be, and the automaton that reads such texts.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/grammar/automaton.h"
#include "text/grammar/budget.h"
#include "text/grammar/grammar_error.h"
#include "text/grammar/tool_call_grammar.h"

namespace bellwether::text::grammar {

struct AnyText {};
struct AnyJsonObject {};
struct JsonSchema {
  std::string schema;  // json_schema.h
};
struct Regex {
  std::string pattern;  // pattern.h, of the whole text
};
struct Choice {
  std::vector<std::string> texts;
};
struct Ebnf {
  std::string source;  // ebnf.h
};

using TextForm = std::variant<AnyText, AnyJsonObject, JsonSchema, Regex, Choice, Ebnf>;

// REQUIRES: text or calls.
struct Constraint {
  std::optional<TextForm> text = {};  // the answer is such a text
  // The answer is such calls; with a text too, it is one or the other, and after any text calls may come.
  std::optional<ToolCallGrammar> calls = {};
  // The answer comes after reasoning, which a model ends with line feeds: up to two may stand before it.
  bool follows_reasoning = false;
};

// Throws GrammarError when the constraint is malformed, uses what is not supported, is too large for the limits, or
// allows no text. `is_marker`: whether a marker (deepseek_markers.h) is a token of its own. Takes 0.2 s at most.
[[nodiscard]] std::shared_ptr<const Automaton> compile(const Constraint& constraint, const GrammarLimits& limits,
                                                       const std::function<bool(std::string_view)>& is_marker);

}  // namespace bellwether::text::grammar
