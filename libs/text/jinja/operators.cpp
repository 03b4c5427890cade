#include "text/jinja/operators.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

namespace bellwether::text::jinja {
namespace {

constexpr std::string_view kSigns[] = {"+", "-", "*", "/", "//", "%", "**"};

[[noreturn]] void fail_types(BinaryOperator operation, const Value& left, const Value& right) {
  throw RenderError(fmt::format("unsupported operand types for {}: '{}' and '{}'",
                                kSigns[static_cast<size_t>(operation)], type_name(left), type_name(right)));
}

[[noreturn]] void fail_overflow() {
  throw RenderError("an integer has more than 64 bits");
}

int64_t floor_divided(int64_t a, int64_t b) {
  if (b == 0) throw RenderError("division by zero");
  if (a == std::numeric_limits<int64_t>::min() && b == -1) fail_overflow();
  return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

int64_t modulo(int64_t a, int64_t b) {
  if (b == 0) throw RenderError("division by zero");
  if (b == -1) return 0;
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

int64_t power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  for (int64_t i = 0; i < exponent && result != 0; ++i) {
    if (base == 1 || (base == -1 && i == exponent % 2)) return result;
    if (base == 0) return 0;
    if (__builtin_mul_overflow(result, base, &result)) fail_overflow();
  }
  return result;
}

Value apply_to_integers(BinaryOperator operation, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  switch (operation) {
    case BinaryOperator::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case BinaryOperator::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case BinaryOperator::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case BinaryOperator::kDivide:
      if (b == 0) throw RenderError("division by zero");
      return Value(static_cast<double>(a) / static_cast<double>(b));
    case BinaryOperator::kFloorDivide:
      return Value(floor_divided(a, b));
    case BinaryOperator::kModulo:
      return Value(modulo(a, b));
    default:
      if (b < 0 && a == 0) throw RenderError("division by zero");
      if (b < 0) return Value(std::pow(static_cast<double>(a), static_cast<double>(b)));
      return Value(power(a, b));
  }
  if (overflow) fail_overflow();
  return Value(result);
}

double modulo(double a, double b) {
  const double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

Value apply_to_floats(BinaryOperator operation, double a, double b) {
  const bool divides = operation == BinaryOperator::kDivide || operation == BinaryOperator::kFloorDivide ||
                       operation == BinaryOperator::kModulo;
  if (divides && b == 0) throw RenderError("division by zero");
  switch (operation) {
    case BinaryOperator::kAdd:
      return Value(a + b);
    case BinaryOperator::kSubtract:
      return Value(a - b);
    case BinaryOperator::kMultiply:
      return Value(a * b);
    case BinaryOperator::kDivide:
      return Value(a / b);
    case BinaryOperator::kFloorDivide:
      return Value(std::floor(a / b));
    case BinaryOperator::kModulo:
      return Value(modulo(a, b));
    default:
      return Value(std::pow(a, b));
  }
}

Value joined(const List& a, const List& b, Budget& budget) {
  Values items;
  budget.spend_steps(a.items.size() + b.items.size());
  items.reserve(a.items.size() + b.items.size());
  items.insert(items.end(), a.items.begin(), a.items.end());
  items.insert(items.end(), b.items.begin(), b.items.end());
  return make_list(std::move(items), budget, a.kind);
}

// A text or a list several times.
Value repeated(const Value& value, int64_t times, Budget& budget) {
  const auto count = static_cast<uint64_t>(std::max<int64_t>(times, 0));
  if (const std::string* const text = value.if_text()) {
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(count, text->size(), &bytes)) bytes = std::numeric_limits<uint64_t>::max() / 2;
    budget.spend_text(bytes);
    std::string out;
    out.reserve(bytes);
    while (out.size() < bytes) out.append(*text);
    return Value(std::move(out));
  }
  const List& list = *value.if_list();
  uint64_t size = 0;
  if (__builtin_mul_overflow(count, list.items.size(), &size)) size = std::numeric_limits<uint64_t>::max() / 2;
  budget.spend_steps(size);
  Values items;
  while (items.size() < size) items.insert(items.end(), list.items.begin(), list.items.end());
  return make_list(std::move(items), budget, list.kind);
}

bool can_repeat(const Value& value) {
  return value.if_text() != nullptr || (value.if_list() != nullptr && value.if_list()->kind != List::Kind::kGenerator);
}

// For lists: -1, 0 or 1, of the first items that differ, then of the sizes.
bool list_less(const List& a, const List& b, Budget& budget) {
  const size_t common = std::min(a.items.size(), b.items.size());
  for (size_t i = 0; i < common; ++i) {
    if (!equal(a.items[i], b.items[i], budget)) return less(a.items[i], b.items[i], budget);
  }
  return a.items.size() < b.items.size();
}

[[noreturn]] void fail_order(const Value& left, const Value& right) {
  throw RenderError(fmt::format("'{}' and '{}' cannot be ordered", type_name(left), type_name(right)));
}

bool has_order(const Value& left, const Value& right) {
  if (left.is_number() && right.is_number()) return true;
  if (left.if_text() != nullptr && right.if_text() != nullptr) return true;
  const List* const a = left.if_list();
  const List* const b = right.if_list();
  return a != nullptr && b != nullptr && a->kind == b->kind && a->kind != List::Kind::kGenerator;
}

// NaN is neither less nor greater than anything, nor equal.
bool less_or_equal(const Value& left, const Value& right, Budget& budget) {
  return less(left, right, budget) || equal(left, right, budget);
}

}  // namespace

std::optional<double> as_float(const Value& value) {
  int64_t room = 0;
  if (const int64_t* const integer = value.if_integer(room)) return static_cast<double>(*integer);
  if (const double* const number = std::get_if<double>(&value.variant())) return *number;
  return std::nullopt;
}

Value apply(BinaryOperator operation, const Value& left, const Value& right, Budget& budget) {
  require_defined(left);
  require_defined(right);
  int64_t room_left = 0;
  int64_t room_right = 0;
  const int64_t* const a = left.if_integer(room_left);
  const int64_t* const b = right.if_integer(room_right);
  if (a != nullptr && b != nullptr) return apply_to_integers(operation, *a, *b);
  if (left.is_number() && right.is_number()) return apply_to_floats(operation, *as_float(left), *as_float(right));
  if (operation == BinaryOperator::kAdd && left.if_text() != nullptr && right.if_text() != nullptr) {
    budget.spend_text(left.if_text()->size() + right.if_text()->size());
    return Value(*left.if_text() + *right.if_text());
  }
  if (operation == BinaryOperator::kAdd && can_repeat(left) && can_repeat(right) && left.if_list() != nullptr &&
      right.if_list() != nullptr && left.if_list()->kind == right.if_list()->kind) {
    return joined(*left.if_list(), *right.if_list(), budget);
  }
  if (operation == BinaryOperator::kMultiply && can_repeat(left) && b != nullptr) return repeated(left, *b, budget);
  if (operation == BinaryOperator::kMultiply && can_repeat(right) && a != nullptr) return repeated(right, *a, budget);
  if (operation == BinaryOperator::kModulo && left.if_text() != nullptr) {
    throw RenderError("formatting of a string by % is not supported");
  }
  fail_types(operation, left, right);
}

Value apply(UnaryOperator operation, const Value& operand) {
  require_defined(operand);
  int64_t room = 0;
  const bool minus = operation == UnaryOperator::kMinus;
  if (const int64_t* const integer = operand.if_integer(room)) {
    return minus ? apply_to_integers(BinaryOperator::kSubtract, 0, *integer) : Value(*integer);
  }
  if (const double* const number = std::get_if<double>(&operand.variant())) return Value(minus ? -*number : *number);
  throw RenderError(fmt::format("a '{}' has no sign", type_name(operand)));
}

bool less(const Value& left, const Value& right, Budget& budget) {
  budget.spend_steps(1);
  require_defined(left);
  require_defined(right);
  if (!has_order(left, right)) fail_order(left, right);
  int64_t room_left = 0;
  int64_t room_right = 0;
  const int64_t* const a = left.if_integer(room_left);
  const int64_t* const b = right.if_integer(room_right);
  if (a != nullptr && b != nullptr) return *a < *b;
  if (left.is_number()) return *as_float(left) < *as_float(right);
  if (left.if_text() != nullptr) return *left.if_text() < *right.if_text();  // bytes of UTF-8 are in Unicode's order
  return list_less(*left.if_list(), *right.if_list(), budget);
}

bool contains(const Value& container, const Value& item, Budget& budget) {
  if (container.is_undefined()) return false;
  if (const std::string* const text = container.if_text()) {
    require_defined(item);
    const std::string* const part = item.if_text();
    if (part == nullptr) throw RenderError(fmt::format("'in' a string needs a string, not '{}'", type_name(item)));
    budget.spend_steps(text->size() / 64);
    return text->find(*part) != std::string::npos;
  }
  if (const Dict* const dict = container.if_dict()) {
    budget.spend_steps(1 + dict->members.size() / 16);
    return dict->find(item) != nullptr;
  }
  if (container.if_list() == nullptr) {
    throw RenderError(fmt::format("argument of type '{}' is not iterable", type_name(container)));
  }
  const auto items = items_of(container, budget);
  return std::any_of(items->begin(), items->end(), [&](const Value& each) { return equal(each, item, budget); });
}

bool compare(Comparator comparator, const Value& left, const Value& right, Budget& budget) {
  switch (comparator) {
    case Comparator::kEqual:
      return equal(left, right, budget);
    case Comparator::kNotEqual:
      return !equal(left, right, budget);
    case Comparator::kLess:
      return less(left, right, budget);
    case Comparator::kLessOrEqual:
      return less_or_equal(left, right, budget);
    case Comparator::kGreater:
      return less(right, left, budget);
    case Comparator::kGreaterOrEqual:
      return less_or_equal(right, left, budget);
    case Comparator::kIn:
      return contains(right, left, budget);
    case Comparator::kNotIn:
      return !contains(right, left, budget);
  }
  return false;
}

}  // namespace bellwether::text::jinja
