#include "text/grammar/number_range.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <string>

#include <boost/json/parse.hpp>

#include "text/grammar/support.h"

namespace bellwether::text::grammar {
namespace {

Decimal decimal(const std::string& text) {
  return *Decimal::of(boost::json::parse(text));
}

TEST(Decimal, HasTheDigitsOfANumber) {
  EXPECT_EQ(decimal("0"), (Decimal{false, "0", ""}));
  EXPECT_EQ(decimal("-120"), (Decimal{true, "120", ""}));
  EXPECT_EQ(decimal("18446744073709551615"), (Decimal{false, "18446744073709551615", ""}));
  EXPECT_EQ(decimal("0.5"), (Decimal{false, "0", "5"}));
  EXPECT_EQ(decimal("-12.250"), (Decimal{true, "12", "25"}));
  EXPECT_EQ(decimal("1e3"), (Decimal{false, "1000", ""}));
  EXPECT_EQ(decimal("1.5e-7"), (Decimal{false, "0", "00000015"}));
  EXPECT_EQ(decimal("1.25e20"), (Decimal{false, "125000000000000000000", ""}));
  EXPECT_EQ(decimal("0.1"), (Decimal{false, "0", "1"}));
  EXPECT_FALSE(Decimal::of(boost::json::parse("\"1\"")));
}

TEST(Decimal, HasAnOrder) {
  const std::vector<std::string> ordered = {"-1e30", "-100", "-99.5", "-9.75", "-9.5", "-0.1",  "0",
                                            "0.001", "0.01", "0.1",   "9",     "10",   "10.01", "1e30"};
  for (size_t i = 0; i < ordered.size(); ++i) {
    for (size_t j = 0; j < ordered.size(); ++j) {
      EXPECT_EQ(is_less(decimal(ordered[i]), decimal(ordered[j])), i < j) << ordered[i] << " " << ordered[j];
    }
  }
  EXPECT_FALSE(is_less({true, "0", ""}, {false, "0", ""}));
}

class Side {
 public:
  explicit Side(const NumberRange& range) : range_(range) {}
  [[nodiscard]] bool holds(const Decimal& value) const {
    if (range_.min &&
        (is_less(value, range_.min->value) || (range_.min->is_exclusive && !is_less(range_.min->value, value)))) {
      return false;
    }
    return !range_.max ||
           !(is_less(range_.max->value, value) || (range_.max->is_exclusive && !is_less(value, range_.max->value)));
  }

 private:
  const NumberRange& range_;
};

std::shared_ptr<const Automaton> automaton_of(const NumberRange& range, bool is_integer) {
  Budget budget({});
  Nfa nfa(budget);
  const State first = nfa.first_of(0);
  nfa.end_rule(0, is_integer ? append_integer_range(nfa, first, range) : append_number_range(nfa, first, range));
  try {
    return std::make_shared<const Automaton>(nfa);
  } catch (const GrammarError&) {
    return nullptr;  // empty
  }
}

std::string shown(const NumberRange& range) {
  const auto bound = [](const std::optional<Bound>& each) {
    if (!each) return std::string("none");
    const Decimal& value = each->value;
    return (value.is_negative ? "-" : "") + value.whole + "." + value.fraction +
           (each->is_exclusive ? " exclusive" : "");
  };
  return bound(range.min) + " to " + bound(range.max);
}

NumberRange random_range(std::mt19937_64& random, const std::vector<std::string>& bounds) {
  const auto bound = [&]() -> std::optional<Bound> {
    if (random() % 4 == 0) return std::nullopt;
    return Bound{.value = decimal(bounds[random() % bounds.size()]), .is_exclusive = random() % 2 == 0};
  };
  NumberRange range{.min = bound(), .max = bound()};
  if (!range.min && !range.max) range.min = Bound{.value = decimal(bounds[random() % bounds.size()])};
  return range;
}

TEST(NumberRange, HasExactlyTheIntegersWithin) {
  std::mt19937_64 random(3);
  const std::vector<std::string> bounds = {"-1000", "-999", "-101", "-100", "-99", "-12.5", "-10",
                                           "-9",    "-1",   "-0.5", "0",    "0.5", "1",     "9",
                                           "10",    "12.5", "99",   "100",  "205", "1000"};
  for (int i = 0; i < 300; ++i) {
    const NumberRange range = random_range(random, bounds);
    const auto automaton = automaton_of(range, true);
    for (int value = -1205; value <= 1205; ++value) {
      const std::string text = std::to_string(value);
      const bool is_within = Side(range).holds(decimal(text));
      ASSERT_EQ(automaton != nullptr && accepts(*automaton, text), is_within) << text << " in " << shown(range);
    }
    for (const char* wrong : {"-0", "00", "01", "-01", "1.0", "1e1", "+1", "", "-"}) {
      ASSERT_FALSE(automaton != nullptr && accepts(*automaton, wrong)) << wrong;
    }
  }
}

TEST(NumberRange, HoldsFarFromZero) {
  const NumberRange all;
  EXPECT_TRUE(accepts(*automaton_of(all, true), "999999999999999999"));
  EXPECT_TRUE(accepts(*automaton_of(all, true), "-999999999999999999"));
  EXPECT_FALSE(accepts(*automaton_of(all, true), "1000000000000000000")) << "more than 18 digits";
  const NumberRange beyond{.min = Bound{.value = decimal("1e30")}};
  EXPECT_EQ(automaton_of(beyond, true), nullptr);
  const NumberRange below_beyond{.max = Bound{.value = decimal("1e30")}};
  EXPECT_TRUE(accepts(*automaton_of(below_beyond, true), "999999999999999999"));
  EXPECT_TRUE(accepts(*automaton_of(below_beyond, false), "999999999999999"));
  const NumberRange above_beyond{.min = Bound{.value = decimal("-1e30")}};
  EXPECT_TRUE(accepts(*automaton_of(above_beyond, false), "-999999999999999"));
  EXPECT_EQ(automaton_of(beyond, false), nullptr);
}

TEST(NumberRange, HasExactlyTheNumbersWithin) {
  std::mt19937_64 random(4);
  const std::vector<std::string> bounds = {"-100", "-12.5", "-10",  "-1.05", "-1",  "-0.5", "-0.05",
                                           "0",    "0.05",  "0.5",  "0.25",  "1",   "1.05", "1.5",
                                           "9.99", "10",    "12.5", "99.5",  "100", "1e-7"};
  int within = 0;
  for (int i = 0; i < 400; ++i) {
    const NumberRange range = random_range(random, bounds);
    const auto automaton = automaton_of(range, false);
    const auto check = [&](const std::string& text) {
      const bool is_within = Side(range).holds(decimal(text));
      within += static_cast<int>(is_within);
      ASSERT_EQ(automaton != nullptr && accepts(*automaton, text), is_within) << text << " in " << shown(range);
    };
    for (int j = 0; j < 200; ++j) {
      std::string text = std::to_string(random() % 2 == 0 ? random() % 12 : random() % 120);
      if (random() % 3 != 0) {
        text += '.';
        for (size_t digits = 1 + random() % 4; digits > 0; --digits) text += "0059"[random() % 4];
      }
      // A negative zero may or may not be within, where zero is.
      const bool is_negative = random() % 2 == 0 && !decimal(text).is_zero();
      check((is_negative ? "-" : "") + text);
    }
    for (const std::string& bound : bounds) {
      if (bound.find('e') != std::string::npos) continue;
      check(bound);
      if (bound.find('.') != std::string::npos) {
        check(bound + "0");
        check(bound + "01");
      } else {
        check(bound + ".0");
        check(bound + ".001");
      }
    }
    for (const char* wrong : {"00", "01", "1.", ".5", "-", "", "1e1", "+1", "0.1234567890123456"}) {
      ASSERT_FALSE(automaton != nullptr && accepts(*automaton, wrong)) << wrong;
    }
  }
  EXPECT_GT(within, 10'000);
}

}  // namespace
}  // namespace bellwether::text::grammar
