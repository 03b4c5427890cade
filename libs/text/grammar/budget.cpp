#include "text/grammar/budget.h"

#include <fmt/format.h>

#include "text/grammar/grammar_error.h"

namespace bellwether::text::grammar {

void Budget::spend_state() {
  if (++states_ > limits_.states_max) {
    throw GrammarError("", fmt::format("is too large: it needs more than {} states", limits_.states_max));
  }
}

void Budget::spend_rule() {
  if (++rules_ > limits_.rules_max) {
    throw GrammarError("", fmt::format("is too large: it needs more than {} rules", limits_.rules_max));
  }
}

void Budget::spend_schema() {
  if (++schemas_ > limits_.schemas_max) {
    throw GrammarError("", fmt::format("is too large: merged, it has more than {} schemas", limits_.schemas_max));
  }
}

void Budget::spend_work(uint64_t edges) {
  work_ += edges;
  if (work_ > limits_.work_max) {
    throw GrammarError("", "is too complex: its automaton takes too long to build");
  }
}

}  // namespace bellwether::text::grammar
