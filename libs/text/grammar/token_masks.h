// Which tokens may come in a state of a rule, whatever surrounds the rule.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "text/grammar/automaton.h"
#include "text/grammar/recognizer.h"
#include "text/grammar/vocabulary.h"

namespace bellwether::text::grammar {

// Computed when first asked for, and kept: for each state of an automaton the tokens that fit within its rule (and
// those that it calls), and the ends of tokens that go on after the rule's end. Only for the latter the surroundings
// must be looked at when a mask is made.
//
// Not thread-safe: all matchers of an automaton belong to one thread at a time.
class TokenMasks {
 public:
  struct StateMask {
    std::vector<uint64_t> words = {};  // bit i % 64 of [i / 64]: token i fits; empty when they are few, then:
    std::vector<TokenId> tokens = {};  // those that fit
    // What may follow the rule's end within a token, each beginning once: a trie in depth-first order, as Vocabulary's,
    // with one node more behind the last. Empty when nothing may.
    std::vector<Vocabulary::Node> after = {};
    std::vector<TokenId> after_tokens = {};  // that have the rule's end and this after it, in the nodes' order

    void add_to(std::span<uint64_t> allowed) const;
    [[nodiscard]] std::span<const Vocabulary::Node> after_nodes() const {
      return {after.data(), after.empty() ? 0 : after.size() - 1};
    }
    [[nodiscard]] std::span<const TokenId> after_tokens_at(size_t node) const {
      return std::span(after_tokens).subspan(after[node].tokens, after[node + 1].tokens - after[node].tokens);
    }
    [[nodiscard]] size_t bytes() const;
  };

  TokenMasks(std::shared_ptr<const Automaton> automaton, std::shared_ptr<const Vocabulary> vocabulary);

  [[nodiscard]] const Automaton& automaton() const { return *automaton_; }
  [[nodiscard]] const Vocabulary& vocabulary() const { return *vocabulary_; }
  // Valid until the next call.
  [[nodiscard]] const StateMask& of(State state);
  [[nodiscard]] size_t bytes() const { return bytes_; }          // kept
  [[nodiscard]] uint64_t computed() const { return computed_; }  // masks, so far

 private:
  [[nodiscard]] StateMask compute(State state);
  void walk(std::span<const Vocabulary::Node> nodes, size_t begin, size_t end, StateMask& mask);
  void merge_after(std::vector<uint32_t> nodes, uint16_t depth, StateMask& mask) const;

  std::shared_ptr<const Automaton> automaton_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  Recognizer recognizer_;
  std::vector<std::unique_ptr<StateMask>> masks_;  // by state; nullptr where nobody has asked
  std::vector<uint32_t> exits_;  // of the mask that is being computed: nodes where the rule ends and tokens go on
  size_t bytes_ = 0;
  uint64_t computed_ = 0;
};

}  // namespace bellwether::text::grammar
