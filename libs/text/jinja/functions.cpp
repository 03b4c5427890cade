#include "text/jinja/functions.h"

#include <fmt/format.h>

#include <array>

#include "text/jinja/arguments.h"

namespace bellwether::text::jinja {
namespace {

constexpr int64_t kRangeMax = 100'000;  // items, as in Jinja's sandbox
constexpr size_t kTimeFormatBytesMax = 1024;

Value range(const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("range", arguments, {"start", "stop", "step"});
  (void)bound.require(0);
  const bool one = bound.find(1) == nullptr;
  const int64_t start = one ? 0 : bound.integer(0).value_or(0);
  const int64_t stop = bound.integer(one ? 0 : 1).value_or(0);
  const int64_t step = bound.integer(2).value_or(1);
  if (step == 0) throw RenderError("range(): 'step' must not be 0");
  Values items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (items.size() == kRangeMax) throw RenderError(fmt::format("range() has more than {} items", kRangeMax));
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return make_list(std::move(items), budget);
}

// Members of a dict that may be given, then named arguments.
std::vector<std::pair<Value, Value>> members_of(std::string_view function, const Arguments& arguments, Budget& budget) {
  std::vector<std::pair<Value, Value>> members;
  if (arguments.positional.size() > 1) throw RenderError(fmt::format("{}() takes one dict", function));
  if (!arguments.positional.empty()) {
    const Dict* const dict = arguments.positional[0].if_dict();
    if (dict == nullptr) throw RenderError(fmt::format("{}() takes a dict and named arguments", function));
    members = dict->members;
  }
  for (const auto& [name, value] : arguments.named) members.emplace_back(make_text(name, budget), value);
  return members;
}

Value make_namespace(const Arguments& arguments, Budget& budget, Namespaces& namespaces) {
  budget.spend_steps(8);
  auto space = namespaces.make();
  for (auto& [key, value] : members_of("namespace", arguments, budget)) {
    const std::string* const name = key.if_text();
    if (name == nullptr) throw RenderError("the names in a namespace must be strings");
    space->members.insert_or_assign(*name, std::move(value));
  }
  return Value(std::move(space));
}

Value raise(const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("raise_exception", arguments, {"message"});
  throw Raised(printed(bound.require(0), budget));
}

Value format_time(const Arguments& arguments, Budget& budget, std::time_t now) {
  const BoundArguments bound("strftime_now", arguments, {"format"});
  const std::string& format = bound.require_text(0);
  if (format.empty()) return make_text("", budget);
  if (format.size() > kTimeFormatBytesMax) {
    throw RenderError(fmt::format("strftime_now() takes a format of {} bytes at most", kTimeFormatBytesMax));
  }
  std::tm parts = {};
  localtime_r(&now, &parts);
  std::string text(format.size() * 64, '\0');  // no field is longer
  text.resize(std::strftime(text.data(), text.size(), format.c_str(), &parts));
  return make_text(std::move(text), budget);
}

}  // namespace

std::vector<std::pair<std::string_view, Value>> make_functions(Budget& budget, Namespaces& namespaces,
                                                               std::time_t now) {
  std::vector<std::pair<std::string_view, Value>> functions;
  const auto add = [&](std::string_view name, std::function<Value(const Arguments&)> call) {
    functions.emplace_back(name, make_callable(std::string(name), std::move(call), Value(), budget));
  };
  add("range", [&budget](const Arguments& arguments) { return range(arguments, budget); });
  add("dict",
      [&budget](const Arguments& arguments) { return make_dict(members_of("dict", arguments, budget), budget); });
  add("namespace",
      [&budget, &namespaces](const Arguments& arguments) { return make_namespace(arguments, budget, namespaces); });
  add("raise_exception", [&budget](const Arguments& arguments) { return raise(arguments, budget); });
  add("strftime_now", [&budget, now](const Arguments& arguments) { return format_time(arguments, budget, now); });
  return functions;
}

}  // namespace bellwether::text::jinja
