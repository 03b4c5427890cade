#include "text/jinja/value_tests.h"

#include <string>

#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_operations.h"

namespace bellwether::text::jinja {
namespace {

template <bool (*kHolds)(const Value&)>
bool plain_test(const Value& input, const Arguments& arguments, Budget& /*budget*/) {
  const BoundArguments bound("a test", arguments, {});
  return kHolds(input);
}

bool is_boolean(const Value& value) {
  return std::holds_alternative<bool>(value.variant());
}
bool is_callable(const Value& value) {
  return value.if_callable() != nullptr;
}
bool is_defined(const Value& value) {
  return !value.is_undefined();
}
bool is_undefined(const Value& value) {
  return value.is_undefined();
}
bool is_none(const Value& value) {
  return value.is_none();
}
bool is_float(const Value& value) {
  return std::holds_alternative<double>(value.variant());
}
bool is_integer(const Value& value) {
  return std::holds_alternative<int64_t>(value.variant());
}
bool is_number(const Value& value) {
  return value.is_number();
}
bool is_string(const Value& value) {
  return value.if_text() != nullptr;
}
bool is_mapping(const Value& value) {
  return value.if_dict() != nullptr;
}
bool is_the_true(const Value& value) {
  return is_boolean(value) && is_true(value);
}
bool is_the_false(const Value& value) {
  return is_boolean(value) && !is_true(value);
}

bool is_sequence(const Value& value) {
  const List* const list = value.if_list();
  if (list != nullptr) return list->kind != List::Kind::kGenerator;
  return value.if_text() != nullptr || value.if_dict() != nullptr || value.is_undefined();
}

bool is_divided(const Value& input, const Value& divisor, int64_t rest, Budget& budget) {
  return equal(apply(BinaryOperator::kModulo, input, divisor, budget), Value(rest), budget);
}

template <int64_t kRest>
bool parity_test(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("a test of parity", arguments, {});
  return is_divided(input, Value(int64_t{2}), kRest, budget);
}

bool divisible_test(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("divisibleby", arguments, {"num"});
  return is_divided(input, bound.require(0), 0, budget);
}

template <bool (*kIs)(std::string_view)>
bool case_test(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("a test of case", arguments, {});
  return kIs(printed(input, budget));
}

template <Comparator kComparator>
bool comparing_test(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("a comparing test", arguments, {"other"});
  return compare(kComparator, input, bound.require(0), budget);
}

// Equal and of one type: texts and numbers are not looked at by where they are stored, as Python would.
bool same_test(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("sameas", arguments, {"other"});
  const Value& other = bound.require(0);
  if (input.variant().index() != other.variant().index()) return false;
  if (input.if_list() != nullptr) return input.if_list() == other.if_list();
  if (input.if_dict() != nullptr) return input.if_dict() == other.if_dict();
  return equal(input, other, budget);
}

template <bool kFilters>
bool known_test(const Value& input, const Arguments& arguments, Budget& /*budget*/) {
  const BoundArguments bound("a test of names", arguments, {});
  const std::string* const name = input.if_text();
  return name != nullptr && (kFilters ? find_filter(*name) != nullptr : find_test(*name) != nullptr);
}

constexpr ValueTest kTests[] = {{"boolean", plain_test<is_boolean>},
                                {"callable", plain_test<is_callable>},
                                {"defined", plain_test<is_defined>},
                                {"divisibleby", divisible_test},
                                {"eq", comparing_test<Comparator::kEqual>},
                                {"equalto", comparing_test<Comparator::kEqual>},
                                {"even", parity_test<0>},
                                {"false", plain_test<is_the_false>},
                                {"filter", known_test<true>},
                                {"float", plain_test<is_float>},
                                {"ge", comparing_test<Comparator::kGreaterOrEqual>},
                                {"greaterthan", comparing_test<Comparator::kGreater>},
                                {"gt", comparing_test<Comparator::kGreater>},
                                {"in", comparing_test<Comparator::kIn>},
                                {"integer", plain_test<is_integer>},
                                {"iterable", plain_test<is_iterable>},
                                {"le", comparing_test<Comparator::kLessOrEqual>},
                                {"lessthan", comparing_test<Comparator::kLess>},
                                {"lower", case_test<is_lower>},
                                {"lt", comparing_test<Comparator::kLess>},
                                {"mapping", plain_test<is_mapping>},
                                {"ne", comparing_test<Comparator::kNotEqual>},
                                {"none", plain_test<is_none>},
                                {"number", plain_test<is_number>},
                                {"odd", parity_test<1>},
                                {"sameas", same_test},
                                {"sequence", plain_test<is_sequence>},
                                {"string", plain_test<is_string>},
                                {"test", known_test<false>},
                                {"true", plain_test<is_the_true>},
                                {"undefined", plain_test<is_undefined>},
                                {"upper", case_test<is_upper>},
                                // As select() may name them.
                                {"==", comparing_test<Comparator::kEqual>},
                                {"!=", comparing_test<Comparator::kNotEqual>},
                                {"<", comparing_test<Comparator::kLess>},
                                {"<=", comparing_test<Comparator::kLessOrEqual>},
                                {">", comparing_test<Comparator::kGreater>},
                                {">=", comparing_test<Comparator::kGreaterOrEqual>}};

}  // namespace

const ValueTest* find_test(std::string_view name) {
  for (const ValueTest& test : kTests) {
    if (test.name == name) return &test;
  }
  return nullptr;
}

}  // namespace bellwether::text::jinja
