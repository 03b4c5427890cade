// Expressions: characters, in sequence, in choices, repeated. What regular expressions and EBNF have in common.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/grammar/code_points.h"
#include "text/grammar/nfa.h"

namespace bellwether::text::grammar {

struct Expression {
  enum class Kind : uint8_t { kSequence, kChoice, kRepeat, kCharacter, kRule };
  static constexpr uint32_t kUnbounded = UINT32_MAX;

  Kind kind = Kind::kSequence;         // an empty one is the empty text
  uint32_t min = 0;                    // kRepeat
  uint32_t max = 0;                    // kRepeat; kUnbounded
  uint32_t rule = 0;                   // kRule
  CodePoints set = {};                 // kCharacter: one of these
  std::vector<Expression> parts = {};  // kSequence, kChoice, and the one of kRepeat

  [[nodiscard]] static Expression character(CodePoints set) {
    return {.kind = Kind::kCharacter, .set = std::move(set)};
  }
  [[nodiscard]] static Expression text(std::string_view utf8);  // REQUIRES: valid UTF-8
  [[nodiscard]] static Expression repeat(Expression part, uint32_t min, uint32_t max) {
    Expression repeat{.kind = Kind::kRepeat, .min = min, .max = max};
    repeat.parts.push_back(std::move(part));
    return repeat;
  }
  // Of one part: that part.
  [[nodiscard]] static Expression group(Kind kind, std::vector<Expression> parts);
};

// How the rules that an expression names are added.
class RuleAppender {
 public:
  virtual ~RuleAppender() = default;
  [[nodiscard]] virtual State append_rule(Nfa& nfa, State from, uint32_t rule) = 0;
};

// Adds the expression from `from` on and returns the state after it. REQUIRES: `rules` unless no rule is named.
[[nodiscard]] State append(Nfa& nfa, State from, const Expression& expression, Writing writing,
                           RuleAppender* rules = nullptr);

// Adds `min` to `max` times what `append_part` adds.
template <typename AppendPart>
[[nodiscard]] State append_repeated(Nfa& nfa, State from, uint32_t min, uint32_t max, const AppendPart& append_part) {
  const auto append_once = [&](State at) {
    // A state of its own, also where the part adds none: the budget must see every time.
    const State begin = nfa.add_state();
    nfa.add_empty(at, begin);
    return append_part(begin);
  };
  for (uint32_t i = 0; i < min; ++i) from = append_once(from);
  if (max == Expression::kUnbounded) {
    const State loop = nfa.add_state();
    nfa.add_empty(from, loop);
    nfa.add_empty(append_once(loop), loop);
    const State after = nfa.add_state();
    nfa.add_empty(loop, after);
    return after;
  }
  const State after = nfa.add_state();
  for (uint32_t i = min; i < max; ++i) {
    nfa.add_empty(from, after);
    from = append_once(from);
  }
  nfa.add_empty(from, after);
  return after;
}

}  // namespace bellwether::text::grammar
