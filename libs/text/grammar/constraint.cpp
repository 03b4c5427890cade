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

// Adds a form to a grammar that is empty otherwise, and returns the state after it.
class FormWriter {
 public:
  FormWriter(Nfa& nfa, State first, const std::function<bool(std::string_view)>& is_marker)
      : nfa_(nfa), first_(first), is_marker_(is_marker) {}

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
    check_size(bytes);
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

  State operator()(const ToolCallGrammar& form) {
    size_t bytes = 0;
    for (const ToolFunction& function : form.functions) {
      bytes += function.name.size() + function.parameters.size();
      check_utf8(function.name);
      check_utf8(function.parameters);
    }
    check_size(bytes);
    return append_tool_calls(nfa_, first_, form, is_marker_);
  }

 private:
  void check(std::string_view source) const {
    check_size(source.size());
    check_utf8(source);
  }

  void check_size(size_t bytes) const {
    if (bytes > nfa_.limits().source_bytes_max) {
      throw GrammarError("",
                         fmt::format("has {} bytes; at most {} are allowed", bytes, nfa_.limits().source_bytes_max));
    }
  }

  static void check_utf8(std::string_view text) {
    if (!is_valid_utf8(text)) throw GrammarError("", "is not valid UTF-8");
  }

  Nfa& nfa_;
  const State first_;
  const std::function<bool(std::string_view)>& is_marker_;
};

}  // namespace

std::shared_ptr<const Automaton> compile(const Constraint& constraint, const GrammarLimits& limits,
                                         const std::function<bool(std::string_view)>& is_marker) {
  Budget budget(limits);
  Nfa nfa(budget);
  State first = nfa.first_of(0);
  if (constraint.follows_reasoning) {
    const State line_feed = nfa.append_bytes(first, "\n");
    const State begin = nfa.append_bytes(line_feed, "\n");
    for (const State before : {first, line_feed}) nfa.add_empty(before, begin);
    first = begin;
  }
  nfa.end_rule(0, std::visit(FormWriter(nfa, first, is_marker), constraint.form));
  return std::make_shared<const Automaton>(nfa);
}

}  // namespace bellwether::text::grammar
