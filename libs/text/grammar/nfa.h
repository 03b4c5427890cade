// A grammar as it is written down: states of finite automata over bytes, whose edges may also call rules.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/grammar/budget.h"

namespace bellwether::text::grammar {

using State = uint32_t;
using Rule = uint32_t;

// Every rule has a first and a last state, which no edge leaves; it matches the bytes on the ways between them. Rules
// share no states. An edge reads nothing, or a byte of a range, or what a rule matches. Rule 0 is the whole grammar.
class Nfa {
 public:
  enum class Kind : uint8_t { kEmpty, kBytes, kCall };
  struct Edge {
    Kind kind = Kind::kEmpty;
    uint8_t first = 0;  // of kBytes
    uint8_t last = 0;
    Rule rule = 0;  // of kCall
    State to = 0;
  };

  // REQUIRES: the budget outlives it.
  explicit Nfa(Budget& budget) : budget_(budget) { (void)add_rule(); }

  // They spend of the budget, and throw GrammarError when it is used up.
  [[nodiscard]] Rule add_rule();
  [[nodiscard]] State add_state();
  void add_empty(State from, State to) { edges_[from].push_back({.to = to}); }
  void add_bytes(State from, uint8_t first, uint8_t last, State to) {
    edges_[from].push_back({.kind = Kind::kBytes, .first = first, .last = last, .to = to});
  }
  void add_call(State from, Rule rule, State to) {
    edges_[from].push_back({.kind = Kind::kCall, .rule = rule, .to = to});
  }

  // They return the state after what they add.
  [[nodiscard]] State append_bytes(State from, std::string_view bytes);
  [[nodiscard]] State append_call(State from, Rule rule);
  void end_rule(Rule rule, State from) { add_empty(from, last_of(rule)); }

  [[nodiscard]] size_t state_count() const { return edges_.size(); }
  [[nodiscard]] size_t rule_count() const { return rules_.size(); }
  [[nodiscard]] State first_of(Rule rule) const { return rules_[rule].first; }
  [[nodiscard]] State last_of(Rule rule) const { return rules_[rule].last; }
  [[nodiscard]] const std::vector<Edge>& edges(State state) const { return edges_[state]; }
  [[nodiscard]] Budget& budget() const { return budget_; }
  [[nodiscard]] const GrammarLimits& limits() const { return budget_.limits(); }

 private:
  struct Ends {
    State first;
    State last;
  };
  Budget& budget_;
  std::vector<std::vector<Edge>> edges_;  // by state
  std::vector<Ends> rules_;
};

}  // namespace bellwether::text::grammar
