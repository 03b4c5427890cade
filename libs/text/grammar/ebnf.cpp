#include "text/grammar/ebnf.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "text/grammar/expression.h"
#include "text/grammar/grammar_error.h"
#include "text/grammar/pattern_reader.h"
#include "text/grammar/recursion.h"

namespace bellwether::text::grammar {
namespace {

constexpr uint64_t kInlinePartsMax = 64;
constexpr size_t kNameShownMax = 64;

struct NamedRule {
  std::string name;
  size_t position = 0;  // of its first use or definition
  bool is_defined = false;
  Expression body = {};
};

bool begins_name(uint32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool continues_name(uint32_t c) {
  return begins_name(c) || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

class EbnfParser {
 public:
  EbnfParser(std::string_view source, const GrammarLimits& limits) : in_(source, limits), limits_(limits) {}

  std::vector<NamedRule> parse() {
    (void)rule_named("root", 0);
    skip_blanks();
    while (!in_.at_end()) define_rule();
    for (const NamedRule& rule : rules_) {
      if (rule.is_defined) continue;
      if (rule.name == "root") throw GrammarError("", "has no rule `root`, with which the text would begin");
      in_.fail(rule.position, fmt::format("there is no rule `{}`", rule.name.substr(0, kNameShownMax)));
    }
    return std::move(rules_);
  }

 private:
  void define_rule() {
    const size_t begin = in_.position();
    if (!begins_name(in_.peek())) in_.fail(begin, fmt::format("{} stands where a rule begins", shown(in_.peek())));
    const uint32_t id = rule_named(take_name(), begin);
    skip_blanks();
    if (in_.next_is(':') && !in_.next_is("::=")) {
      in_.fail(in_.position(), "rules are written `name ::= expression`; Lark's form is not supported");
    }
    if (!in_.take_if("::=")) in_.fail(in_.position(), "`::=` must follow the rule's name");
    if (rules_[id].is_defined) in_.fail(begin, "the rule is defined twice");
    skip_blanks();
    Expression body = alternatives(0);
    if (in_.next_is(')')) in_.fail(in_.position(), "closes a group that is not open");
    rules_[id].body = std::move(body);
    rules_[id].is_defined = true;
  }

  Expression alternatives(size_t depth) {
    if (depth > limits_.depth_max) {
      in_.fail(in_.position(), fmt::format("groups are nested more than {} deep", limits_.depth_max));
    }
    std::vector<Expression> alternatives;
    do {
      skip_blanks();
      alternatives.push_back(sequence(depth));
    } while (in_.take_if('|'));
    return Expression::group(Expression::Kind::kChoice, std::move(alternatives));
  }

  Expression sequence(size_t depth) {
    std::vector<Expression> parts;
    while (!in_.at_end() && !in_.next_is('|') && !in_.next_is(')') && !at_definition()) {
      Expression part = atom(depth);
      skip_blanks();
      while (const auto count = take_count()) {
        part = Expression::repeat(std::move(part), count->min, count->max);
        skip_blanks();
      }
      parts.push_back(std::move(part));
    }
    return Expression::group(Expression::Kind::kSequence, std::move(parts));
  }

  std::optional<Count> take_count() {
    const size_t begin = in_.position();
    const auto count = in_.take_count();
    if (!count && in_.next_is('{')) in_.fail(begin, "is no count: {m}, {m,} or {m,n}");
    return count;
  }

  Expression atom(size_t depth) {
    const size_t begin = in_.position();
    if (begins_name(in_.peek())) {
      return {.kind = Expression::Kind::kRule, .rule = rule_named(take_name(), begin)};
    }
    const uint32_t c = in_.take();
    switch (c) {
      case '"':
      case '\'':
        return quoted(begin, c);
      case '[':
        return Expression::character(in_.take_class());
      case '.':
        return Expression::character(CodePoints::all());
      case '(': {
        Expression inside = alternatives(depth + 1);
        if (!in_.take_if(')')) in_.fail(begin, "the group is not closed");
        return inside;
      }
      default:
        in_.fail(begin, fmt::format("{} is no part of an expression", shown(c)));
    }
  }

  Expression quoted(size_t begin, uint32_t quote) {
    std::vector<Expression> characters;
    for (;;) {
      if (in_.at_end()) in_.fail(begin, "the text is not closed");
      const uint32_t c = in_.take();
      if (c == quote) return Expression::group(Expression::Kind::kSequence, std::move(characters));
      characters.push_back(Expression::character(c == '\\' ? in_.take_escape(false) : CodePoints::of(c)));
    }
  }

  // A rule's name and its `::=`: the one before has ended.
  [[nodiscard]] bool at_definition() const {
    if (!begins_name(in_.peek())) return false;
    size_t ahead = 1;
    while (continues_name(in_.peek(ahead))) ++ahead;
    while (in_.next_is(' ', ahead) || in_.next_is('\t', ahead)) ++ahead;
    return in_.next_is(':', ahead);
  }

  std::string take_name() {
    std::string name;
    while (continues_name(in_.peek())) name += static_cast<char>(in_.take());
    return name;
  }

  uint32_t rule_named(std::string name, size_t position) {
    const auto [entry, is_new] = ids_.try_emplace(name, static_cast<uint32_t>(rules_.size()));
    if (is_new) rules_.push_back({.name = std::move(name), .position = position});
    return entry->second;
  }

  void skip_blanks() {
    while (!in_.at_end()) {
      const uint32_t c = in_.peek();
      if (c == '#') {
        while (!in_.at_end() && !in_.next_is('\n')) (void)in_.take();
      } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        (void)in_.take();
      } else {
        return;
      }
    }
  }

  PatternReader in_;
  const GrammarLimits& limits_;
  std::vector<NamedRule> rules_;
  std::map<std::string, uint32_t> ids_;
};

void collect_rules(const Expression& expression, std::vector<uint32_t>& rules) {
  if (expression.kind == Expression::Kind::kRule) rules.push_back(expression.rule);
  for (const Expression& part : expression.parts) collect_rules(part, rules);
}

// Small rules that are not recursive are written where they are named, so that fewer rules are open while a text is
// read.
class EbnfRules final : public RuleAppender {
 public:
  explicit EbnfRules(std::vector<NamedRule> rules) : rules_(std::move(rules)), parts_(rules_.size(), 0) {
    std::vector<std::vector<uint32_t>> calls(rules_.size());
    for (size_t i = 0; i < rules_.size(); ++i) collect_rules(rules_[i].body, calls[i]);
    const std::vector<uint32_t> groups = strong_groups(calls);
    std::vector<size_t> members(rules_.size());
    for (const uint32_t group : groups) ++members[group];
    // In the groups' order, a rule comes after those that it calls.
    std::vector<uint32_t> order(rules_.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::sort(order, {}, [&](uint32_t rule) { return groups[rule]; });
    for (const uint32_t rule : order) {
      const bool is_recursive = members[groups[rule]] > 1 || std::ranges::find(calls[rule], rule) != calls[rule].end();
      parts_[rule] = is_recursive ? kInlinePartsMax + 1 : parts_of(rules_[rule].body);
    }
  }

  void add_to(Nfa& nfa, Rule root) {
    numbers_.assign(rules_.size(), std::nullopt);
    numbers_[0] = root;
    wanted_ = {0};
    while (!wanted_.empty()) {
      const uint32_t rule = wanted_.back();
      wanted_.pop_back();
      const Rule number = *numbers_[rule];
      nfa.end_rule(number, append(nfa, nfa.first_of(number), rules_[rule].body, Writing::kPlain, this));
    }
  }

  State append_rule(Nfa& nfa, State from, uint32_t rule) override {
    if (parts_[rule] <= kInlinePartsMax) return append(nfa, from, rules_[rule].body, Writing::kPlain, this);
    if (!numbers_[rule]) {
      numbers_[rule] = nfa.add_rule();
      wanted_.push_back(rule);
    }
    return nfa.append_call(from, *numbers_[rule]);
  }

 private:
  [[nodiscard]] uint64_t parts_of(const Expression& expression) const {
    if (expression.kind == Expression::Kind::kRule) return parts_[expression.rule];
    uint64_t parts = 1;
    for (const Expression& part : expression.parts) parts = std::min(parts + parts_of(part), kInlinePartsMax + 1);
    if (expression.kind != Expression::Kind::kRepeat) return parts;
    const bool is_unbounded = expression.max == Expression::kUnbounded;
    return std::min(parts * std::max<uint64_t>(is_unbounded ? expression.min : expression.max, 1), kInlinePartsMax + 1);
  }

  const std::vector<NamedRule> rules_;        // the first is root
  std::vector<uint64_t> parts_;               // by rule: the expression's, up to what is too many
  std::vector<std::optional<Rule>> numbers_;  // in the Nfa
  std::vector<uint32_t> wanted_;              // have a number, but no body yet
};

}  // namespace

void add_ebnf(Nfa& nfa, Rule root, std::string_view source) {
  EbnfRules(EbnfParser(source, nfa.limits()).parse()).add_to(nfa, root);
}

}  // namespace bellwether::text::grammar
