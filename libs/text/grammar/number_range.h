// Numbers between bounds, by their digits.
#pragma once

#include <optional>
#include <string>

#include <boost/json/value.hpp>

#include "text/grammar/nfa.h"

namespace bellwether::text::grammar {

// A number's decimal digits: exactly what its JSON text says, or, of a double, the shortest that reads back as it.
struct Decimal {
  bool is_negative = false;
  std::string whole = "0";    // no zeros in front
  std::string fraction = {};  // no zeros at the end

  [[nodiscard]] bool is_zero() const { return whole == "0" && fraction.empty(); }
  [[nodiscard]] static std::optional<Decimal> of(const boost::json::value& number);  // nothing when not a number
  friend bool operator==(const Decimal&, const Decimal&) = default;
};

[[nodiscard]] bool is_less(const Decimal& a, const Decimal& b);

struct Bound {
  Decimal value;
  bool is_exclusive = false;
};

struct NumberRange {
  std::optional<Bound> min = {};
  std::optional<Bound> max = {};
};

// Both add what is within the range, from `from` on, and return the state after it.
//
// Whole numbers of at most 18 digits, never -0.
[[nodiscard]] State append_integer_range(Nfa& nfa, State from, const NumberRange& range);
// Numbers without exponent, of at most 15 digits in all, so that their order as doubles is their order as written.
// REQUIRES: a bound, at least.
[[nodiscard]] State append_number_range(Nfa& nfa, State from, const NumberRange& range);

}  // namespace bellwether::text::grammar
