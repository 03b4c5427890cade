// The arguments of a call, matched to the names of a function's parameters.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

namespace bellwether::text::jinja {

// All throw RenderError that names the function. Valid as long as the arguments.
class BoundArguments {
 public:
  // Too many arguments, unknown names and a name given twice are errors.
  BoundArguments(std::string_view function, const Arguments& arguments, std::initializer_list<std::string_view> names);

  [[nodiscard]] const Value* find(size_t i) const { return bound_[i]; }  // nullptr: not given
  [[nodiscard]] const Value& require(size_t i) const;
  [[nodiscard]] const std::string& require_text(size_t i) const;
  // The default also where None is given.
  [[nodiscard]] std::optional<std::string_view> text(size_t i) const;
  [[nodiscard]] std::optional<int64_t> integer(size_t i) const;
  [[nodiscard]] bool is_true(size_t i) const;  // false where it is not given

 private:
  [[noreturn]] void fail(size_t i, std::string_view expected) const;

  std::string_view function_;
  std::vector<std::string_view> names_;
  std::vector<const Value*> bound_;
};

}  // namespace bellwether::text::jinja
