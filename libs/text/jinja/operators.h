// Python's operators. All throw RenderError for types that do not fit, and where an integer leaves 64 bits.
#pragma once

#include "text/jinja/syntax.h"
#include "text/jinja/value.h"

namespace bellwether::text::jinja {

// REQUIRES: `operation` is arithmetic, not kAnd or kOr.
[[nodiscard]] Value apply(BinaryOperator operation, const Value& left, const Value& right, Budget& budget);
// REQUIRES: `operation` is a sign.
[[nodiscard]] Value apply(UnaryOperator operation, const Value& operand);
[[nodiscard]] bool compare(Comparator comparator, const Value& left, const Value& right, Budget& budget);
[[nodiscard]] bool contains(const Value& container, const Value& item, Budget& budget);
[[nodiscard]] bool less(const Value& left, const Value& right, Budget& budget);

// A number as a float; nullopt for anything else.
[[nodiscard]] std::optional<double> as_float(const Value& value);

}  // namespace bellwether::text::jinja
