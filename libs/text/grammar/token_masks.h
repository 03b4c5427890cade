// Which tokens may come in a state of a rule, whatever surrounds the rule.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include <boost/unordered/unordered_flat_map.hpp>

#include "text/grammar/automaton.h"
#include "text/grammar/recognizer.h"
#include "text/grammar/state_likeness.h"
#include "text/grammar/vocabulary.h"

namespace bellwether::text::grammar {

// Computed when first asked for, and kept: for each state of an automaton the tokens that fit within its rule (and
// those that it calls), and the ends of tokens that go on after the rule's end. Only for the latter the surroundings
// must be looked at when a mask is made. States that are alike share what they say of short tokens.
//
// Thread-safe. One thread computes at a time; what is kept can be had meanwhile.
class TokenMasks {
 public:
  // Of short or of long tokens.
  struct Part {
    std::vector<uint64_t> words = {};  // bit i % 64 of [i / 64]: token i fits; empty when they are few, then:
    std::vector<TokenId> tokens = {};  // those that fit
    // What may follow the rule's end within a token, each beginning once: a trie as TokenTrie's, with one node more
    // behind the last. Empty when nothing may.
    std::vector<TokenTrie::Node> after = {};
    std::vector<TokenId> after_tokens = {};  // that have the rule's end and this after it, in the nodes' order

    void add_to(std::span<uint64_t> allowed) const;
    [[nodiscard]] std::span<const TokenTrie::Node> after_nodes() const {
      return {after.data(), after.empty() ? 0 : after.size() - 1};
    }
    [[nodiscard]] std::span<const TokenId> after_tokens_at(size_t node) const {
      return std::span(after_tokens).subspan(after[node].tokens, after[node + 1].tokens - after[node].tokens);
    }
    [[nodiscard]] size_t bytes() const;
  };
  struct StateMask {
    std::shared_ptr<const Part> short_tokens;
    Part long_tokens;
  };

  TokenMasks(std::shared_ptr<const Automaton> automaton, std::shared_ptr<const Vocabulary> vocabulary);

  [[nodiscard]] const Automaton& automaton() const { return *automaton_; }
  [[nodiscard]] const Vocabulary& vocabulary() const { return *vocabulary_; }
  [[nodiscard]] std::shared_ptr<const StateMask> of(State state);
  [[nodiscard]] std::shared_ptr<const StateMask> kept(State state) const;  // nullptr when it would have to be computed
  [[nodiscard]] size_t bytes() const;                                      // kept
  [[nodiscard]] uint64_t computed() const;                                 // masks of short tokens, so far

 private:
  // By what its states are alike in: their likeness, and what may follow their rule.
  using ShortParts = boost::unordered_flat_map<std::pair<uint64_t, Rule>, std::shared_ptr<const Part>>;

  void forget();
  [[nodiscard]] std::shared_ptr<const Part> short_part_of(State state);
  [[nodiscard]] Part compute(State state, const TokenTrie& trie);
  void walk(const TokenTrie& trie, size_t begin, size_t end, std::vector<TokenId>& fitting,
            std::vector<uint32_t>& exits);
  void merge_after(const TokenTrie& trie, const std::vector<uint32_t>& nodes, Rule rule, uint16_t depth,
                   Part& part) const;

  std::shared_ptr<const Automaton> automaton_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  mutable std::mutex mutex_;                             // of what follows
  std::vector<std::shared_ptr<const StateMask>> masks_;  // by state; nullptr where nobody has asked
  size_t bytes_ = 0;
  uint64_t computed_ = 0;

  std::mutex computing_;  // of what follows; taken first
  Recognizer recognizer_;
  StateLikeness likeness_;
  ShortParts short_parts_;
};

}  // namespace bellwether::text::grammar
