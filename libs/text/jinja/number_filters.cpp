#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include "text/jinja/arguments.h"
#include "text/jinja/filter_tables.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_operations.h"

namespace bellwether::text::jinja {
namespace {

// The digits of a number as int() and float() take them: space around, a sign, low lines between digits.
std::optional<std::string> number_digits(std::string_view text) {
  text = strip(text, std::nullopt, Sides::kBoth);
  if (text.starts_with('+')) text.remove_prefix(1);
  if (text.starts_with("+") || text.empty() || text.front() == '_' || text.back() == '_') return std::nullopt;
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      digits.push_back(text[i]);
    } else if (!is_digit(text.substr(i - 1, 1)) || !is_digit(text.substr(i + 1, 1))) {
      return std::nullopt;
    }
  }
  return digits;
}

template <typename Number, typename... Base>
std::optional<Number> parsed(std::string_view text, Base... base) {
  const auto digits = number_digits(text);
  if (!digits) return std::nullopt;
  Number number = 0;
  const char* const end = digits->data() + digits->size();
  const auto read = std::from_chars(digits->data(), end, number, base...);
  if (read.ec == std::errc::result_out_of_range) throw RenderError("a number is too large");
  return read.ec == std::errc() && read.ptr == end ? std::optional(number) : std::nullopt;
}

std::optional<double> float_of(const Value& value) {
  if (const std::string* const text = value.if_text()) return parsed<double>(*text);
  require_defined(value);
  return as_float(value);
}

Value truncated(double number) {
  if (number >= 9.2233720368547758e18 || number < -9.2233720368547758e18) {
    throw RenderError("an integer has more than 64 bits");
  }
  return Value(static_cast<int64_t>(number));
}

Value int_filter(const Value& input, const Arguments& arguments, Budget& /*budget*/) {
  const BoundArguments bound("int", arguments, {"default", "base"});
  const int64_t base = bound.integer(1).value_or(10);
  if (base < 2 || base > 36) throw RenderError("int(): 'base' must be from 2 to 36");
  if (const std::string* const text = input.if_text()) {
    if (const auto integer = parsed<int64_t>(*text, static_cast<int>(base))) return Value(*integer);
  }
  int64_t room = 0;
  if (const int64_t* const integer = input.if_integer(room)) return Value(*integer);
  const auto number = float_of(input);
  if (number && std::isfinite(*number)) return truncated(*number);
  return bound.find(0) == nullptr ? Value(int64_t{0}) : *bound.find(0);
}

Value float_filter(const Value& input, const Arguments& arguments, Budget& /*budget*/) {
  const BoundArguments bound("float", arguments, {"default"});
  if (const auto number = float_of(input)) return Value(*number);
  return bound.find(0) == nullptr ? Value(0.0) : *bound.find(0);
}

Value abs_filter(const Value& input, const Arguments& arguments, Budget& /*budget*/) {
  const BoundArguments bound("abs", arguments, {});
  if (const double* const number = std::get_if<double>(&input.variant())) return Value(std::fabs(*number));
  int64_t room = 0;
  const int64_t* const integer = input.if_integer(room);
  require_defined(input);
  if (integer == nullptr) throw RenderError(fmt::format("abs() takes a number, not '{}'", type_name(input)));
  return *integer < 0 ? apply(UnaryOperator::kMinus, input) : Value(*integer);
}

// Half to even, of the number's exact decimal digits, as Python's round().
double rounded(double number, int precision) {
  if (!std::isfinite(number) || precision > 300) return number;
  if (precision < 0) {
    const double power = std::pow(10.0, -precision);
    return std::nearbyint(number / power) * power;
  }
  const std::string digits = fmt::format("{:.{}f}", number, precision);
  double result = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), result);
  return result;
}

Value round_filter(const Value& input, const Arguments& arguments, Budget& /*budget*/) {
  const BoundArguments bound("round", arguments, {"precision", "method"});
  const int64_t precision = bound.integer(0).value_or(0);
  const std::string_view method = bound.text(1).value_or("common");
  if (precision < -300 || precision > 300) throw RenderError("round(): 'precision' must be from -300 to 300");
  if (method != "common" && method != "ceil" && method != "floor") {
    throw RenderError("round(): 'method' must be common, ceil or floor");
  }
  require_defined(input);
  const auto number = as_float(input);
  if (!number) throw RenderError(fmt::format("round() takes a number, not '{}'", type_name(input)));
  int64_t room = 0;
  const int64_t* const integer = input.if_integer(room);
  if (method == "common") {
    if (integer != nullptr && precision >= 0) return Value(*integer);
    const double result = rounded(*number, static_cast<int>(precision));
    return integer != nullptr ? truncated(result) : Value(result);
  }
  const double power = std::pow(10.0, static_cast<double>(precision));
  return Value((method == "ceil" ? std::ceil(*number * power) : std::floor(*number * power)) / power);
}

constexpr Filter kFilters[] = {
    {"abs", abs_filter}, {"float", float_filter}, {"int", int_filter}, {"round", round_filter}};

}  // namespace

std::span<const Filter> number_filters() {
  return kFilters;
}

}  // namespace bellwether::text::jinja
