// A compiled grammar: one deterministic automaton for each rule, with calls between them.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "text/grammar/nfa.h"

namespace bellwether::text::grammar {

// Immutable after construction. No rule matches nothing at all, no call matches the empty text (its caller has a way
// around it instead), and from every state a last state can be reached: a text that has been read so far can always
// be completed. A call with which its caller ends, of a rule that can come to call the caller, is no call but a part
// of the caller: lists written by recursion do not pile up rules that wait for their end.
class Automaton {
 public:
  static constexpr State kNone = UINT32_MAX;

  struct Call {
    Rule rule;
    State to;
  };

  // Throws GrammarError when the grammar matches no text, or is larger than its limits.
  explicit Automaton(const Nfa& nfa);

  [[nodiscard]] State next(State state, uint8_t byte) const {
    return next_[size_t{state} * classes_ + class_of_[byte]];
  }
  // Bytes of one class are alike in every state.
  [[nodiscard]] uint8_t class_of(uint8_t byte) const { return class_of_[byte]; }
  [[nodiscard]] std::span<const State> next_by_class(State state) const {
    return std::span(next_).subspan(size_t{state} * classes_, classes_);
  }
  [[nodiscard]] std::span<const Call> calls(State state) const {
    return std::span(calls_).subspan(calls_begin_[state], calls_begin_[state + 1] - calls_begin_[state]);
  }
  [[nodiscard]] bool is_last(State state) const { return (flags_[state] & kIsLast) != 0; }
  [[nodiscard]] bool reads_bytes(State state) const { return (flags_[state] & kReadsBytes) != 0; }
  // Neither the last of its rule nor one that calls.
  [[nodiscard]] bool is_plain(State state) const { return (flags_[state] & (kIsLast | kCalls)) == 0; }
  [[nodiscard]] Rule rule_of(State state) const { return rules_[state]; }
  [[nodiscard]] State first_of(Rule rule) const { return firsts_[rule]; }
  // Whether a byte can come next after the end of a rule that another one called.
  [[nodiscard]] bool may_follow(Rule rule, uint8_t byte) const { return follows_[rule][byte]; }
  [[nodiscard]] size_t state_count() const { return flags_.size(); }
  [[nodiscard]] size_t rule_count() const { return firsts_.size(); }
  [[nodiscard]] size_t table_bytes() const { return next_.size() * sizeof(State); }
  [[nodiscard]] const GrammarLimits& limits() const { return limits_; }

 private:
  class Builder;
  void find_follows();
  static constexpr uint8_t kIsLast = 1;
  static constexpr uint8_t kReadsBytes = 2;
  static constexpr uint8_t kCalls = 4;

  GrammarLimits limits_;
  std::array<uint8_t, 256> class_of_{};
  size_t classes_ = 0;
  std::vector<State> next_;  // by state and class
  std::vector<size_t> calls_begin_ = {0};
  std::vector<Call> calls_;
  std::vector<uint8_t> flags_;
  std::vector<Rule> rules_;
  std::vector<State> firsts_;              // by rule; kNone for rules that nobody calls
  std::vector<std::bitset<256>> follows_;  // by rule
};

// Nothing, instead of an error, when the grammar matches no text.
[[nodiscard]] std::optional<Automaton> automaton_unless_empty(const Nfa& nfa);

// Adds to `nfa`, from `from` on, what the first of two regular grammars matches and the second matches (kBoth) or does
// not (kFirstOnly). Returns the state after it. REQUIRES: neither calls a rule.
enum class Combination { kBoth, kFirstOnly };
[[nodiscard]] State append_combination(Nfa& nfa, State from, const Automaton& first, const Automaton& second,
                                       Combination combination);

}  // namespace bellwether::text::grammar
