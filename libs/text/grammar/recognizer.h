// Reads bytes by an automaton, all ways of reading at once: Earley's algorithm, whose items are a rule's state and the
// place where the rule began. Any grammar works, also ambiguous and left-recursive ones.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "text/grammar/automaton.h"

namespace bellwether::text::grammar {

// A way in which the text can be read so far: in a state of a rule that began after `origin`, a set of items. Set 0
// stands for what is outside of everything read here, and is empty.
struct Item {
  State state = 0;
  uint32_t origin = 0;
  friend bool operator==(const Item&, const Item&) = default;
};

// A stack of sets of items, one for each byte read. Not thread-safe. REQUIRES: the automaton outlives it.
class Recognizer {
 public:
  explicit Recognizer(const Automaton& automaton);

  void begin();                // before the first byte of the whole grammar
  void begin_in(State state);  // in the midst of a rule, whose surroundings are unknown

  // Reads a byte. False, and nothing is changed, when it cannot come, or if so many items_max would not do.
  [[nodiscard]] bool read(uint8_t byte);
  // Takes a rule that began after `origin` as ended, and nothing else. False, and nothing changed, when nothing can
  // follow. REQUIRES: an item of the last set has this rule and origin.
  [[nodiscard]] bool end_rule(Rule rule, uint32_t origin);
  void pop_to(size_t sets);  // forgets the latest ones; REQUIRES: not more than there are

  [[nodiscard]] size_t set_count() const { return sets_.size(); }
  [[nodiscard]] std::span<const Item> items() const { return std::span(items_).subspan(sets_.back().begin); }
  // The text may end here: the whole grammar has been read, or, after begin_in(), the rule.
  [[nodiscard]] bool may_end() const { return sets_.back().may_end; }
  // Some set grew beyond items_max.
  [[nodiscard]] bool overflowed() const { return overflowed_; }
  [[nodiscard]] uint64_t work() const { return work_; }  // items looked at so far

  // Forgets sets that nothing refers to any more. Origins change; the last set stays the last.
  void compact();

 private:
  struct Set {
    size_t begin;  // in items_
    bool may_end;
  };

  void push_set();
  bool finish_set();
  void add(Item item);
  void complete(Rule rule, uint32_t origin);
  [[nodiscard]] std::span<const Item> items_of(uint32_t set) const;

  const Automaton& automaton_;
  std::vector<Item> items_;
  std::vector<Set> sets_;
  std::vector<std::pair<Item, uint64_t>> seen_;  // a hash table of the set that is being made, by generation
  uint64_t generation_ = 0;
  uint64_t work_ = 0;
  bool overflowed_ = false;
};

}  // namespace bellwether::text::grammar
