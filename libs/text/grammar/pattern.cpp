#include "text/grammar/pattern.h"

#include <fmt/format.h>

#include <utility>

#include "text/grammar/grammar_error.h"
#include "text/grammar/pattern_reader.h"

namespace bellwether::text::grammar {
namespace {

CodePoints all_but_line_ends() {
  CodePoints line_ends;
  for (const uint32_t c : {'\n' + 0U, '\r' + 0U, 0x2028U, 0x2029U}) line_ends.add(c, c);
  return line_ends.complement();
}

class PatternParser {
 public:
  PatternParser(std::string_view pattern, Match match, const GrammarLimits& limits)
      : in_(pattern, limits), match_(match), limits_(limits) {}

  Expression parse() {
    std::vector<Expression> alternatives;
    do {
      alternatives.push_back(outermost_alternative());
    } while (in_.take_if('|'));
    if (!in_.at_end()) in_.fail(in_.position(), "closes a group that is not open");
    return Expression::group(Expression::Kind::kChoice, std::move(alternatives));
  }

 private:
  // With its anchors.
  Expression outermost_alternative() {
    std::vector<Expression> parts;
    if (!in_.take_if('^') && match_ == Match::kSomewhere) parts.push_back(anything());
    append_terms(parts);
    if (!in_.take_if('$') && match_ == Match::kSomewhere) parts.push_back(anything());
    if (!in_.at_end() && !in_.next_is('|') && !in_.next_is(')')) fail_anchor();
    return Expression::group(Expression::Kind::kSequence, std::move(parts));
  }

  Expression alternatives(size_t depth) {
    if (depth > limits_.depth_max) {
      in_.fail(in_.position(), fmt::format("groups are nested more than {} deep", limits_.depth_max));
    }
    const size_t outer = std::exchange(depth_, depth);
    std::vector<Expression> alternatives;
    do {
      std::vector<Expression> parts;
      append_terms(parts);
      if (in_.next_is('$')) fail_anchor();
      alternatives.push_back(Expression::group(Expression::Kind::kSequence, std::move(parts)));
    } while (in_.take_if('|'));
    depth_ = outer;
    return Expression::group(Expression::Kind::kChoice, std::move(alternatives));
  }

  // Up to the end of an alternative, or a $.
  void append_terms(std::vector<Expression>& parts) {
    while (!in_.at_end() && !in_.next_is('|') && !in_.next_is(')') && !in_.next_is('$')) {
      const size_t begin = in_.position();
      Expression part = atom();
      const auto count = in_.take_count();
      if (count) {
        (void)in_.take_if('?');  // lazy: the same texts
        if (in_.next_is('+')) in_.fail(in_.position(), "possessive quantifiers are not supported");
        if (in_.next_is('*') || in_.next_is('?')) in_.fail(begin, "is quantified twice");
        part = Expression::repeat(std::move(part), count->min, count->max);
      }
      parts.push_back(std::move(part));
    }
  }

  Expression atom() {
    const size_t begin = in_.position();
    const uint32_t c = in_.take();
    switch (c) {
      case '.':
        return Expression::character(all_but_line_ends());
      case '[':
        return Expression::character(in_.take_class());
      case '\\':
        return Expression::character(in_.take_escape(false));
      case '(':
        return group(begin);
      case '^':
        fail_anchor(begin);
      case '*':
      case '+':
      case '?':
        in_.fail(begin, fmt::format("{} repeats nothing", shown(c)));
      default:
        return Expression::character(CodePoints::of(c));
    }
  }

  Expression group(size_t begin) {
    if (in_.take_if('?')) take_group_kind(begin);
    Expression inside = alternatives(depth_ + 1);
    if (!in_.take_if(')')) in_.fail(begin, "the group is not closed");
    return inside;
  }

  void take_group_kind(size_t begin) {
    if (in_.take_if(':')) return;
    const bool looks_around = in_.next_is('=') || in_.next_is('!') || in_.next_is("<=") || in_.next_is("<!");
    if (looks_around) in_.fail(begin, "look-around is not supported");
    (void)in_.take_if('P');
    if (!in_.take_if('<')) in_.fail(begin, "groups of this kind are not supported");
    while (!in_.take_if('>')) {
      if (in_.at_end()) in_.fail(begin, "the group's name is not closed");
      (void)in_.take();
    }
  }

  static Expression anything() {
    return Expression::repeat(Expression::character(CodePoints::all()), 0, Expression::kUnbounded);
  }

  [[noreturn]] void fail_anchor() { fail_anchor(in_.position()); }
  [[noreturn]] void fail_anchor(size_t position) {
    in_.fail(position, "^ and $ are only supported at the ends of the pattern, or of its outermost alternatives");
  }

  PatternReader in_;
  const Match match_;
  const GrammarLimits& limits_;
  size_t depth_ = 0;
};

}  // namespace

Expression parse_pattern(std::string_view pattern, Match match, const GrammarLimits& limits) {
  return PatternParser(pattern, match, limits).parse();
}

}  // namespace bellwether::text::grammar
