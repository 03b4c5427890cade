#include "text/grammar/constraint.h"

#include <fmt/format.h>

#include "text/grammar/ebnf.h"
#include "text/grammar/expression.h"
#include "text/grammar/json_document.h"
#include "text/grammar/json_schema.h"
#include "text/grammar/json_text.h"
#include "text/grammar/pattern.h"
#include "text/tokenizer.h"

namespace bellwether::text::grammar {
namespace {

void check_size(const GrammarLimits& limits, size_t bytes) {
  if (bytes > limits.source_bytes_max) {
    throw GrammarError("", fmt::format("has {} bytes; at most {} are allowed", bytes, limits.source_bytes_max));
  }
}

void check_utf8(std::string_view text) {
  if (!is_valid_utf8(text)) throw GrammarError("", "is not valid UTF-8");
}

// Adds a form of texts from a state on, and returns the state after it.
class FormWriter {
 public:
  FormWriter(Nfa& nfa, State first) : nfa_(nfa), first_(first) {}

  State operator()(const AnyText& /*form*/) {
    const Expression any = Expression::repeat(Expression::character(CodePoints::all()), 0, Expression::kUnbounded);
    return append(nfa_, first_, any, Writing::kPlain);
  }

  State operator()(const AnyJsonObject& /*form*/) { return AnyJson(nfa_).append_object(first_); }

  State operator()(const JsonSchema& form) {
    check(form.schema);
    const boost::json::value document = parse_json_document(form.schema);
    AnyJson any(nfa_);
    return append_json_schema(nfa_, first_, document, any);
  }

  State operator()(const Regex& form) {
    check(form.pattern);
    return append(nfa_, first_, parse_pattern(form.pattern, Match::kWhole, nfa_.limits()), Writing::kPlain);
  }

  State operator()(const Choice& form) {
    size_t bytes = 0;
    for (const std::string& text : form.texts) bytes += text.size();
    check_size(nfa_.limits(), bytes);
    const State after = nfa_.add_state();
    for (const std::string& text : form.texts) {
      check_utf8(text);
      nfa_.add_empty(nfa_.append_bytes(first_, text), after);
    }
    return after;
  }

  State operator()(const Ebnf& form) {
    check(form.source);
    const Rule root = nfa_.add_rule();
    add_ebnf(nfa_, root, form.source);
    return nfa_.append_call(first_, root);
  }

 private:
  void check(std::string_view source) const {
    check_size(nfa_.limits(), source.size());
    check_utf8(source);
  }

  Nfa& nfa_;
  const State first_;
};

State append_calls(Nfa& nfa, State from, const ToolCallGrammar& calls,
                   const std::function<bool(std::string_view)>& is_marker) {
  size_t bytes = 0;
  for (const ToolFunction& function : calls.functions) {
    bytes += function.name.size() + function.parameters.size();
    check_utf8(function.name);
    check_utf8(function.parameters);
  }
  check_size(nfa.limits(), bytes);
  return append_tool_calls(nfa, from, calls, is_marker);
}

// Up to two.
State append_line_feeds(Nfa& nfa, State from) {
  const State one = nfa.append_bytes(from, "\n");
  const State two = nfa.append_bytes(one, "\n");
  for (const State before : {from, one}) nfa.add_empty(before, two);
  return two;
}

}  // namespace

std::shared_ptr<const Automaton> compile(const Constraint& constraint, const GrammarLimits& limits,
                                         const std::function<bool(std::string_view)>& is_marker) {
  Budget budget(limits);
  Nfa nfa(budget);
  State first = nfa.first_of(0);
  if (constraint.follows_reasoning) first = append_line_feeds(nfa, first);
  State calls_first = first;
  if (constraint.text) {
    const State after = std::visit(FormWriter(nfa, first), *constraint.text);
    nfa.end_rule(0, after);
    if (std::holds_alternative<AnyText>(*constraint.text)) calls_first = after;
  }
  if (constraint.calls) nfa.end_rule(0, append_calls(nfa, calls_first, *constraint.calls, is_marker));
  return std::make_shared<const Automaton>(nfa);
}

}  // namespace bellwether::text::grammar
