// What the worker is told of the form of an answer: its text, and the calls of tools in it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api-gateway/chat_request.h"
#include "api-gateway/failure.h"
#include "api-gateway/served_model.h"
#include "bellwether/v1/generate.pb.h"
#include "text/grammar/constraint.h"

namespace bellwether::gateway {

struct AnswerConstraint {
  text::grammar::Constraint grammar;
  v1::Constraint message;  // the same, and where it begins
  // For complaints: the field with the text's form, and each function's parameters.
  std::string text_path = {};
  std::vector<std::string> call_paths = {};
};

// Nothing where any answer will do. They throw RequestFailed (400) for what the model cannot be made to do; whether the
// constraint itself can be honoured is ConstraintChecker's business.
[[nodiscard]] std::optional<AnswerConstraint> text_constraint_of(const GenerationParameters& parameters);
// `opens_reasoning`: the prompt ends inside the model's reasoning.
[[nodiscard]] std::optional<AnswerConstraint> chat_constraint_of(const ChatRequest& chat, const ServedModel& model,
                                                                 bool opens_reasoning);

// Throws RequestFailed (400), naming the field at fault, down to a schema's keyword, when it cannot be honoured. Takes
// as long as text::grammar::compile().
void compile_for_complaints(const AnswerConstraint& constraint, const ServedModel& model);

}  // namespace bellwether::gateway
