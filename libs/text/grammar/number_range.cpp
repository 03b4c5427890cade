#include "text/grammar/number_range.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdlib>

#include "text/grammar/automaton.h"
#include "text/grammar/json_text.h"

namespace bellwether::text::grammar {

namespace json = boost::json;

namespace {

constexpr size_t kIntegerDigitsMax = 18;
constexpr int64_t kIntegerMax = 999'999'999'999'999'999;
constexpr size_t kDigitsMax = 15;
constexpr int kPointMax = 400;  // no double has its point further off

int compare_wholes(const std::string& a, const std::string& b) {
  if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  return a.compare(b);
}

int compare_magnitudes(const Decimal& a, const Decimal& b) {
  const int order = compare_wholes(a.whole, b.whole);
  return order != 0 ? order : a.fraction.compare(b.fraction);  // no zeros at their ends
}

Decimal decimal_of_whole(std::string digits) {
  Decimal decimal;
  decimal.is_negative = digits[0] == '-';
  decimal.whole = decimal.is_negative ? digits.substr(1) : std::move(digits);
  return decimal;
}

// Digits d1 d2 d3 ... and an exponent: d1.d2d3... * 10^exponent.
Decimal decimal_of_scientific(std::string digits, int exponent) {
  Decimal decimal;
  exponent = std::clamp(exponent, -kPointMax, kPointMax);
  const int point = exponent + 1;  // digits before it
  if (point <= 0) digits.insert(0, static_cast<size_t>(1 - point), '0');
  const auto whole = static_cast<size_t>(std::max(point, 1));
  if (digits.size() < whole) digits.append(whole - digits.size(), '0');
  decimal.whole = digits.substr(0, whole);
  decimal.whole.erase(0, std::min(decimal.whole.find_first_not_of('0'), decimal.whole.size() - 1));
  decimal.fraction = digits.substr(whole);
  decimal.fraction.erase(decimal.fraction.find_last_not_of('0') + 1);
  return decimal;
}

Decimal decimal_of_double(double number) {
  std::array<char, 32> buffer{};
  const auto [end, error] =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), std::abs(number), std::chars_format::scientific);
  std::string text(buffer.data(), end);
  const size_t e = text.find('e');
  int exponent = 0;
  const size_t begin = text[e + 1] == '+' ? e + 2 : e + 1;
  std::from_chars(text.data() + begin, text.data() + text.size(), exponent);
  std::string digits = text.substr(0, e);
  std::erase(digits, '.');
  Decimal decimal = decimal_of_scientific(std::move(digits), exponent);
  decimal.is_negative = number < 0;
  return decimal;
}

// The bound as the least or the largest whole number within it, as far as 18 digits reach; beyond them, one that
// nothing of 18 digits is within, or all is.
int64_t whole_within(const Bound& bound, bool is_min) {
  const Decimal& value = bound.value;
  if (value.whole.size() > kIntegerDigitsMax) {
    return value.is_negative ? -kIntegerMax - 1 : kIntegerMax + 1;
  }
  int64_t whole = std::strtoll(value.whole.c_str(), nullptr, 10);
  if (value.is_negative) whole = -whole;
  if (value.fraction.empty()) {
    if (bound.is_exclusive) whole += is_min ? 1 : -1;
  } else if (is_min != value.is_negative) {
    whole += is_min ? 1 : -1;  // away from zero; the other way the fraction is cut off
  }
  return whole;
}

void add_digit(Nfa& nfa, State from, char first, char last, State to) {
  if (first <= last) nfa.add_bytes(from, static_cast<uint8_t>(first), static_cast<uint8_t>(last), to);
}

// Digits of equal number between two, both included.
class DigitsBetween {
 public:
  DigitsBetween(Nfa& nfa, const std::string& low, const std::string& high, State to)
      : nfa_(nfa), low_(low), high_(high), free_(low.size() + 1) {
    free_.back() = to;
    for (size_t i = low.size(); i-- > 0;) {
      free_[i] = nfa.add_state();
      add_digit(nfa, free_[i], '0', '9', free_[i + 1]);
    }
  }

  void add(State from) { add(from, 0, true, true); }

 private:
  // From digit i on; before it, the digits were all those of low, or of high.
  void add(State from, size_t i, bool is_low, bool is_high) {
    if (i == low_.size()) return nfa_.add_empty(from, free_.back());
    const char first = is_low ? low_[i] : '0';
    const char last = is_high ? high_[i] : '9';
    if (is_low && is_high && first == last) return add(step(from, first), i + 1, true, true);
    if (is_low) add(step(from, first), i + 1, true, false);
    if (is_high) add(step(from, last), i + 1, false, true);
    add_digit(nfa_, from, static_cast<char>(first + static_cast<char>(is_low)),
              static_cast<char>(last - static_cast<char>(is_high)), free_[i + 1]);
  }

  State step(State from, char digit) {
    const State to = nfa_.add_state();
    add_digit(nfa_, from, digit, digit, to);
    return to;
  }

  Nfa& nfa_;
  const std::string& low_;
  const std::string& high_;
  std::vector<State> free_;  // by the number of digits read: any may follow
};

// Whole numbers between two that are not negative.
void add_between(Nfa& nfa, State from, int64_t low, int64_t high, State to) {
  if (low > high) return;
  const std::string first = std::to_string(low);
  const std::string last = std::to_string(high);
  for (size_t digits = first.size(); digits <= last.size(); ++digits) {
    std::string low_digits = digits == first.size() ? first : "1" + std::string(digits - 1, '0');
    std::string high_digits = digits == last.size() ? last : std::string(digits, '9');
    DigitsBetween(nfa, low_digits, high_digits, to).add(from);
  }
}

// Numbers that are not negative on one side of a bound.
class Magnitudes {
 public:
  Magnitudes(Nfa& nfa, const Bound& bound, bool is_min) : nfa_(nfa), bound_(bound), is_min_(is_min) {}

  void add(State from, State to) {
    to_ = to;
    const State any_fraction = nfa_.add_state();
    add_fraction_of_any(any_fraction);
    add_other_wholes(from, any_fraction);
    add_fraction(nfa_.append_bytes(from, bound_.value.whole));
  }

 private:
  void add_fraction_of_any(State from) {
    nfa_.add_empty(from, to_);
    nfa_.add_empty(append_decimal_digits(nfa_, nfa_.append_bytes(from, "."), 1, kDigitsMax), to_);
  }

  void add_other_wholes(State from, State to) {
    const std::string& whole = bound_.value.whole;
    if (whole.size() > kDigitsMax) {
      if (!is_min_) add_between(nfa_, from, 0, kIntegerMax, to);
      return;
    }
    const int64_t value = std::strtoll(whole.c_str(), nullptr, 10);
    if (is_min_) {
      add_between(nfa_, from, value + 1, kIntegerMax, to);
    } else {
      add_between(nfa_, from, 0, value - 1, to);
    }
  }

  // After the bound's own whole part: digits that are still those of the bound, until one is not.
  void add_fraction(State from) {
    const std::string& fraction = bound_.value.fraction;
    const bool allows_equal = !bound_.is_exclusive;
    if (fraction.empty() ? allows_equal : !is_min_) nfa_.add_empty(from, to_);
    const State free = nfa_.add_state();
    add_digit(nfa_, free, '0', '9', free);
    nfa_.add_empty(free, to_);
    State at = nfa_.append_bytes(from, ".");
    for (size_t i = 0; i < fraction.size(); ++i) {
      const char digit = fraction[i];
      if (is_min_) {
        add_digit(nfa_, at, static_cast<char>(digit + 1), '9', free);
      } else {
        add_digit(nfa_, at, '0', static_cast<char>(digit - 1), free);
      }
      at = nfa_.append_bytes(at, {&digit, 1});
      const bool is_equal = i + 1 == fraction.size();
      if (is_equal ? allows_equal : !is_min_) nfa_.add_empty(at, to_);
    }
    // Equal so far: zeros change nothing.
    const State zeros = nfa_.append_bytes(at, "0");
    add_digit(nfa_, zeros, '0', '0', zeros);
    if (allows_equal) nfa_.add_empty(zeros, to_);
    if (!is_min_) return;
    add_digit(nfa_, at, '1', '9', free);
    add_digit(nfa_, zeros, '1', '9', free);
  }

  Nfa& nfa_;
  const Bound& bound_;
  const bool is_min_;
  State to_ = 0;
};

// Any number without exponent and with few digits, by which the ranges below are cut.
void add_short_numbers(Nfa& nfa, State from, State to) {
  const State sign = nfa.add_state();
  nfa.add_empty(from, sign);
  nfa.add_bytes(from, '-', '-', sign);
  State whole = nfa.add_state();  // after a digit, so many in all
  nfa.add_bytes(sign, '0', '9', whole);
  State fraction = 0;  // the same behind the point
  for (size_t digits = 1;; ++digits) {
    nfa.add_empty(whole, to);
    if (digits > 1) nfa.add_empty(fraction, to);
    if (digits == kDigitsMax) return;
    const State next_fraction = nfa.add_state();
    nfa.add_bytes(nfa.append_bytes(whole, "."), '0', '9', next_fraction);
    if (digits > 1) nfa.add_bytes(fraction, '0', '9', next_fraction);
    fraction = next_fraction;
    const State next_whole = nfa.add_state();
    nfa.add_bytes(whole, '0', '9', next_whole);
    whole = next_whole;
  }
}

Bound without_sign(const Bound& bound) {
  Bound positive = bound;
  positive.value.is_negative = false;
  return positive;
}

// Numbers on one side of a bound, of either sign.
Automaton numbers_beside(Budget& budget, const Bound& bound, bool is_min) {
  Nfa nfa(budget);
  const State first = nfa.first_of(0);
  const State last = nfa.last_of(0);
  const State minus = nfa.append_bytes(first, "-");
  const Bound magnitude = without_sign(bound);
  const Bound zero = {.value = {}, .is_exclusive = bound.is_exclusive && bound.value.is_zero()};
  const Bound any = {.value = {}, .is_exclusive = false};
  if (bound.value.is_negative) {
    // At least -5: "-" and at most 5, or no sign. At most -5: "-" and at least 5.
    Magnitudes(nfa, magnitude, !is_min).add(minus, last);
    if (is_min) Magnitudes(nfa, any, true).add(first, last);
  } else if (is_min) {
    Magnitudes(nfa, magnitude, true).add(first, last);
  } else {
    Magnitudes(nfa, zero, true).add(minus, last);
    Magnitudes(nfa, magnitude, false).add(first, last);
  }
  return Automaton(nfa);
}

Automaton short_numbers(Budget& budget) {
  Nfa nfa(budget);
  add_short_numbers(nfa, nfa.first_of(0), nfa.last_of(0));
  return Automaton(nfa);
}

std::optional<Automaton> both(Budget& budget, const Automaton& a, const Automaton& b) {
  Nfa nfa(budget);
  nfa.end_rule(0, append_combination(nfa, nfa.first_of(0), a, b, Combination::kBoth));
  return automaton_unless_empty(nfa);
}

}  // namespace

std::optional<Decimal> Decimal::of(const json::value& number) {
  if (number.is_int64()) return decimal_of_whole(std::to_string(number.get_int64()));
  if (number.is_uint64()) return decimal_of_whole(std::to_string(number.get_uint64()));
  if (number.is_double()) return decimal_of_double(number.get_double());
  return std::nullopt;
}

bool is_less(const Decimal& a, const Decimal& b) {
  if (a.is_zero() && b.is_zero()) return false;
  const bool a_below = a.is_negative && !a.is_zero();
  const bool b_below = b.is_negative && !b.is_zero();
  if (a_below != b_below) return a_below;
  const int order = compare_magnitudes(a, b);
  return a_below ? order > 0 : order < 0;
}

State append_integer_range(Nfa& nfa, State from, const NumberRange& range) {
  const int64_t low = range.min ? whole_within(*range.min, true) : -kIntegerMax;
  const int64_t high = range.max ? whole_within(*range.max, false) : kIntegerMax;
  const State after = nfa.add_state();
  add_between(nfa, from, std::max<int64_t>(low, 0), std::min(high, kIntegerMax), after);
  if (low < 0) {
    const State minus = nfa.append_bytes(from, "-");
    add_between(nfa, minus, std::max<int64_t>(-high, 1), std::min(-low, kIntegerMax), after);
  }
  return after;
}

State append_number_range(Nfa& nfa, State from, const NumberRange& range) {
  Budget& budget = nfa.budget();
  const Automaton few_digits = short_numbers(budget);
  if (!range.min || !range.max) {
    const Automaton side = numbers_beside(budget, range.min ? *range.min : *range.max, range.min.has_value());
    return append_combination(nfa, from, side, few_digits, Combination::kBoth);
  }
  const Automaton above = numbers_beside(budget, *range.min, true);
  const Automaton below = numbers_beside(budget, *range.max, false);
  const std::optional<Automaton> within = both(budget, above, below);
  if (!within) return nfa.add_state();  // nothing leads there
  return append_combination(nfa, from, *within, few_digits, Combination::kBoth);
}

}  // namespace bellwether::text::grammar
