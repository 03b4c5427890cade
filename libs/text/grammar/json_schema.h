// JSON Schema as a grammar of the JSON texts that are valid.
#pragma once

#include <boost/json/value.hpp>

#include "text/grammar/json_text.h"
#include "text/grammar/nfa.h"

namespace bellwether::text::grammar {

// Adds the values that a schema allows, from `from` on, and returns the state after them. Every text is valid JSON
// (form and whitespace: json_text.h) and valid by the schema, but not every valid text is among them:
//
// - Properties come in the order of the schema, then required ones that it does not list, then additional ones.
// - Where `properties` or `prefixItems` are listed and nothing is said of more, there are no more.
// - Without `type` a value has a type that the schema's other keywords are about, if there are any.
// - A string with a limit escapes only what must be escaped.
// - oneOf is taken as anyOf: that only one of its schemas holds is left to them.
//
// Supported: true and false; type (one or a list), enum, const; properties, required, additionalProperties; items,
// prefixItems, minItems, maxItems; minLength, maxLength, pattern (pattern.h), format (string_format.h); minimum,
// maximum, exclusiveMinimum, exclusiveMaximum (number_range.h); anyOf, oneOf, allOf; $ref into the same document,
// recursive too. What stands side by side, in allOf, or beside anyOf or $ref, is merged; enum and const can be merged
// with types and with each other only. Annotations (title, description, default, examples, ...) are ignored. Anything
// else is refused.
//
// `objects_only`: of these values, the objects.
// Throws GrammarError whose where() is the JSON pointer of the keyword at fault. REQUIRES: `any` is of this `nfa`.
[[nodiscard]] State append_json_schema(Nfa& nfa, State from, const boost::json::value& schema, AnyJson& any,
                                       bool objects_only = false);

}  // namespace bellwether::text::grammar
