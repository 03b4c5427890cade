#include "text/grammar/expression.h"

#include <utility>

#include "text/grammar/utf8_reader.h"

namespace bellwether::text::grammar {

Expression Expression::text(std::string_view utf8) {
  std::vector<Expression> characters;
  while (!utf8.empty()) characters.push_back(character(CodePoints::of(take_code_point(utf8))));
  return group(Kind::kSequence, std::move(characters));
}

Expression Expression::group(Kind kind, std::vector<Expression> parts) {
  if (parts.size() == 1) return std::move(parts[0]);
  return {.kind = kind, .parts = std::move(parts)};
}

State append(Nfa& nfa, State from, const Expression& expression, Writing writing, RuleAppender* rules) {
  switch (expression.kind) {
    case Expression::Kind::kSequence:
      for (const Expression& part : expression.parts) from = append(nfa, from, part, writing, rules);
      return from;
    case Expression::Kind::kChoice: {
      const State after = nfa.add_state();
      for (const Expression& part : expression.parts) nfa.add_empty(append(nfa, from, part, writing, rules), after);
      return after;
    }
    case Expression::Kind::kRepeat:
      return append_repeated(nfa, from, expression.min, expression.max,
                             [&](State at) { return append(nfa, at, expression.parts[0], writing, rules); });
    case Expression::Kind::kCharacter: {
      const State after = nfa.add_state();
      add_character(nfa, from, expression.set, writing, after);
      return after;
    }
    case Expression::Kind::kRule:
      return rules->append_rule(nfa, from, expression.rule);
  }
  return from;
}

}  // namespace bellwether::text::grammar
