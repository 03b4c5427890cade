// What a request says of the form of its answer's text.
#pragma once

#include <optional>
#include <string>

#include "api-gateway/json_fields.h"
#include "text/grammar/constraint.h"

namespace bellwether::gateway {

struct TextConstraint {
  text::grammar::TextForm form;
  std::string path = {};  // of the field that says so
};

// `response_format`, vLLM's `structured_outputs`, or its older `guided_json`, `guided_regex`, `guided_choice` and
// `guided_grammar`; only one of them may say something. Whether it can be honoured is found out with the model
// (answer_constraint.h).
[[nodiscard]] std::optional<TextConstraint> parse_text_constraint(const JsonFields& body);

// {"type": "text"}, {"type": "json_object"}, or {"type": "json_schema"} with its schema: in a member "json_schema" as
// in chat's `response_format`, or, `is_flat`, beside the type, as in the responses API.
[[nodiscard]] std::optional<TextConstraint> parse_text_format(const JsonFields& format, bool is_flat);

// The member `schema`.
[[nodiscard]] TextConstraint parse_schema(const JsonFields& fields);

// Throws, naming the new one's field, when there is one already: an answer has one form.
void set_text_constraint(std::optional<TextConstraint>& constraint, TextConstraint made);

}  // namespace bellwether::gateway
