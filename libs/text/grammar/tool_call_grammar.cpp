#include "text/grammar/tool_call_grammar.h"

#include <fmt/format.h>

#include <deque>

#include <boost/json/value.hpp>

#include "text/deepseek_markers.h"
#include "text/grammar/grammar_error.h"
#include "text/grammar/json_document.h"
#include "text/grammar/json_schema.h"
#include "text/grammar/vocabulary.h"

namespace bellwether::text::grammar {
namespace {

using namespace deepseek;

class ToolCallWriter {
 public:
  ToolCallWriter(Nfa& nfa, const ToolCallGrammar& grammar, const std::function<bool(std::string_view)>& is_marker)
      : nfa_(nfa), grammar_(grammar), is_marker_(is_marker), any_(nfa) {}

  State append(State from) {
    const State call = nfa_.add_state();
    nfa_.add_empty(append_marker(from, kToolCallsBegin), call);
    const State end = append_call(append_marker(call, kToolCallBegin));
    if (grammar_.is_parallel) {
      const bool is_fenced = grammar_.form == ToolCallForm::kFenced;
      nfa_.add_empty(is_fenced ? nfa_.append_bytes(end, kBetweenCalls) : end, call);
    }
    return append_marker(end, kToolCallsEnd);
  }

 private:
  State append_marker(State from, std::string_view marker) {
    if (is_marker_(marker)) from = nfa_.append_bytes(from, {&kMarkerByte, 1});
    return nfa_.append_bytes(from, marker);
  }

  // After its first marker, with its last one.
  State append_call(State from) {
    const bool is_fenced = grammar_.form == ToolCallForm::kFenced;
    if (is_fenced) from = append_marker(nfa_.append_bytes(from, "function"), kToolSep);
    const State after = nfa_.add_state();
    for (size_t i = 0; i < grammar_.functions.size(); ++i) {
      const State name = nfa_.append_bytes(from, grammar_.functions[i].name);
      const State open = is_fenced ? nfa_.append_bytes(name, kArgumentsOpen) : append_marker(name, kToolSep);
      const State close = append_arguments(open, i);
      nfa_.add_empty(is_fenced ? nfa_.append_bytes(close, kArgumentsClose) : close, after);
    }
    return append_marker(after, kToolCallEnd);
  }

  State append_arguments(State from, size_t function) {
    const std::string& parameters = grammar_.functions[function].parameters;
    if (parameters.empty()) return any_.append_object(from);
    const std::string path = fmt::format("/functions/{}/parameters", function);
    try {
      documents_.push_back(parse_json_document(parameters));
      return append_json_schema(nfa_, from, documents_.back(), any_, true);
    } catch (const GrammarError& error) {
      if (error.where().empty()) throw GrammarError(path, error.what());
      throw GrammarError(path + error.where(), error.complaint());
    }
  }

  Nfa& nfa_;
  const ToolCallGrammar& grammar_;
  const std::function<bool(std::string_view)>& is_marker_;
  AnyJson any_;
  std::deque<boost::json::value> documents_;
};

}  // namespace

State append_tool_calls(Nfa& nfa, State from, const ToolCallGrammar& grammar,
                        const std::function<bool(std::string_view)>& is_marker) {
  return ToolCallWriter(nfa, grammar, is_marker).append(from);
}

}  // namespace bellwether::text::grammar
