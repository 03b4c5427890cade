// Which states of an automaton are alike as far as the next few bytes go.
#pragma once

#include <cstddef>
#include <cstdint>

#include <boost/unordered/unordered_flat_map.hpp>

#include "text/grammar/automaton.h"

namespace bellwether::text::grammar {

// A string of at most 1000 characters has thousands of states, nearly all of which allow the same short tokens.
// Not thread-safe. REQUIRES: the automaton outlives it.
class StateLikeness {
 public:
  explicit StateLikeness(const Automaton& automaton) : automaton_(automaton) {}

  // Two states with the same number (but for a chance of 2^-64) read the same texts of at most so many bytes, call the
  // same rules on the way, and end their rule after the same of these texts.
  [[nodiscard]] uint64_t of(State state, size_t bytes);

 private:
  static constexpr size_t kKnownMax = 1 << 20;
  [[nodiscard]] uint64_t compute(State state, size_t bytes);

  const Automaton& automaton_;
  boost::unordered_flat_map<uint64_t, uint64_t> known_;  // by state and number of bytes
};

}  // namespace bellwether::text::grammar
