#include "text/jinja/methods.h"

#include <algorithm>
#include <utility>

#include "text/jinja/arguments.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_operations.h"

namespace bellwether::text::jinja {
namespace {

using TextMethod = Value (*)(const std::string& text, const Arguments& arguments, Budget& budget);
using DictMethod = Value (*)(const Dict& dict, const Arguments& arguments, Budget& budget);
using ListMethod = Value (*)(const List& list, const Arguments& arguments, Budget& budget);
using LoopMethod = Value (*)(Loop& loop, const Arguments& arguments, Budget& budget);

std::optional<size_t> limit(const std::optional<int64_t>& value) {
  return value && *value >= 0 ? std::optional<size_t>(static_cast<size_t>(*value)) : std::nullopt;
}

Value list_of(const std::vector<std::string_view>& parts, Budget& budget) {
  Values values;
  values.reserve(parts.size());
  for (const std::string_view part : parts) values.push_back(make_text(std::string(part), budget));
  return make_list(std::move(values), budget);
}

template <Sides kSides>
Value strip_method(const std::string& text, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("strip", arguments, {"chars"});
  return make_text(std::string(strip(text, bound.text(0), kSides)), budget);
}

template <Sides kFrom>
Value split_method(const std::string& text, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("split", arguments, {"sep", "maxsplit"});
  const auto separator = bound.text(0);
  if (separator && separator->empty()) throw RenderError("split(): the separator is empty");
  budget.spend_steps(text.size() / 64);
  return list_of(split(text, separator, limit(bound.integer(1)), kFrom), budget);
}

Value split_lines_method(const std::string& text, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("splitlines", arguments, {"keepends"});
  return list_of(split_lines(text, bound.is_true(0)), budget);
}

template <bool kAtEnd>
Value starts_method(const std::string& text, const Arguments& arguments, Budget& /*budget*/) {
  const BoundArguments bound(kAtEnd ? "endswith" : "startswith", arguments, {kAtEnd ? "suffix" : "prefix"});
  const auto fits = [&](const std::string& part) { return kAtEnd ? text.ends_with(part) : text.starts_with(part); };
  const List* const parts = bound.require(0).if_list();
  if (parts == nullptr) return Value(fits(bound.require_text(0)));
  return Value(std::any_of(parts->items.begin(), parts->items.end(), [&](const Value& part) {
    const std::string* const each = part.if_text();
    if (each == nullptr) throw RenderError("startswith() and endswith() take strings");
    return fits(*each);
  }));
}

template <bool kAtEnd>
Value remove_method(const std::string& text, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound(kAtEnd ? "removesuffix" : "removeprefix", arguments, {kAtEnd ? "suffix" : "prefix"});
  const std::string& part = bound.require_text(0);
  const bool fits = kAtEnd ? text.ends_with(part) : text.starts_with(part);
  if (!fits) return make_text(text, budget);
  return make_text(text.substr(kAtEnd ? 0 : part.size(), text.size() - part.size()), budget);
}

Value replace_method(const std::string& text, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("replace", arguments, {"old", "new", "count"});
  const std::string& old_text = bound.require_text(0);
  const std::string& new_text = bound.require_text(1);
  budget.spend_text(text.size() + count(text, old_text) * new_text.size());
  return Value(replace(text, old_text, new_text, limit(bound.integer(2))));
}

Value join_method(const std::string& text, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("join", arguments, {"iterable"});
  const auto items = items_of(bound.require(0), budget);
  std::string out;
  for (size_t i = 0; i < items->size(); ++i) {
    const std::string* const item = (*items)[i].if_text();
    if (item == nullptr) throw RenderError("join() takes strings");
    budget.spend_text(text.size() + item->size());
    if (i > 0) out.append(text);
    out.append(*item);
  }
  return Value(std::move(out));
}

template <std::string (*kMap)(std::string_view)>
Value mapping_method(const std::string& text, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("a change of case", arguments, {});
  return make_text(kMap(text), budget);
}

template <bool kFromRight>
Value find_method_of_text(const std::string& text, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound(kFromRight ? "rfind" : "find", arguments, {"sub"});
  const std::string& part = bound.require_text(0);
  budget.spend_steps(text.size() / 64);
  const size_t at = kFromRight ? text.rfind(part) : text.find(part);
  if (at == std::string::npos) return Value(int64_t{-1});
  return Value(static_cast<int64_t>(count_characters(std::string_view(text).substr(0, at))));
}

Value index_method_of_text(const std::string& text, const Arguments& arguments, Budget& budget) {
  Value at = find_method_of_text<false>(text, arguments, budget);
  if (std::get<int64_t>(at.variant()) < 0) throw RenderError("index(): substring not found");
  return at;
}

Value count_method_of_text(const std::string& text, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("count", arguments, {"sub"});
  budget.spend_steps(text.size() / 64);
  return Value(static_cast<int64_t>(count(text, bound.require_text(0))));
}

template <bool (*kIs)(std::string_view)>
Value all_characters_method(const std::string& text, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("a test of characters", arguments, {});
  budget.spend_steps(text.size());
  for (const std::string_view character : Characters(text)) {
    if (!kIs(character)) return Value(false);
  }
  return Value(!text.empty());
}

bool is_letter_or_digit(std::string_view character) {
  return is_letter(character) || is_digit(character);
}

template <bool (*kIs)(std::string_view)>
Value whole_text_method(const std::string& text, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("a test of case", arguments, {});
  budget.spend_steps(text.size());
  return Value(kIs(text));
}

template <bool kFromRight>
Value partition_method(const std::string& text, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("partition", arguments, {"sep"});
  const std::string& separator = bound.require_text(0);
  if (separator.empty()) throw RenderError("partition(): the separator is empty");
  const size_t at = kFromRight ? text.rfind(separator) : text.find(separator);
  std::string parts[3];
  if (at == std::string::npos) {
    parts[kFromRight ? 2 : 0] = text;
  } else {
    parts[0] = text.substr(0, at);
    parts[1] = separator;
    parts[2] = text.substr(at + separator.size());
  }
  Values values;
  for (std::string& part : parts) values.push_back(make_text(std::move(part), budget));
  return make_list(std::move(values), budget, List::Kind::kTuple);
}

constexpr std::pair<std::string_view, TextMethod> kTextMethods[] = {
    {"capitalize", mapping_method<capitalize>},
    {"count", count_method_of_text},
    {"endswith", starts_method<true>},
    {"find", find_method_of_text<false>},
    {"index", index_method_of_text},
    {"isalnum", all_characters_method<is_letter_or_digit>},
    {"isalpha", all_characters_method<is_letter>},
    {"isdigit", all_characters_method<is_digit>},
    {"islower", whole_text_method<is_lower>},
    {"isspace", all_characters_method<is_space>},
    {"isupper", whole_text_method<is_upper>},
    {"join", join_method},
    {"lower", mapping_method<to_lower>},
    {"lstrip", strip_method<Sides::kLeft>},
    {"partition", partition_method<false>},
    {"removeprefix", remove_method<false>},
    {"removesuffix", remove_method<true>},
    {"replace", replace_method},
    {"rfind", find_method_of_text<true>},
    {"rpartition", partition_method<true>},
    {"rsplit", split_method<Sides::kRight>},
    {"rstrip", strip_method<Sides::kRight>},
    {"split", split_method<Sides::kLeft>},
    {"splitlines", split_lines_method},
    {"startswith", starts_method<false>},
    {"strip", strip_method<Sides::kBoth>},
    {"title", mapping_method<title>},
    {"upper", mapping_method<to_upper>},
};

Value items_method(const Dict& dict, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("items", arguments, {});
  Values pairs;
  for (const auto& [key, value] : dict.members) pairs.push_back(make_list({key, value}, budget, List::Kind::kTuple));
  return make_list(std::move(pairs), budget);
}

Value keys_method(const Dict& dict, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("keys", arguments, {});
  Values keys;
  for (const auto& member : dict.members) keys.push_back(member.first);
  return make_list(std::move(keys), budget);
}

Value values_method(const Dict& dict, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("values", arguments, {});
  Values values;
  for (const auto& member : dict.members) values.push_back(member.second);
  return make_list(std::move(values), budget);
}

Value get_method(const Dict& dict, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("get", arguments, {"key", "default"});
  budget.spend_steps(1 + dict.members.size() / 16);
  const Value* const found = dict.find(bound.require(0));
  if (found != nullptr) return *found;
  return bound.find(1) == nullptr ? Value() : *bound.find(1);
}

constexpr std::pair<std::string_view, DictMethod> kDictMethods[] = {
    {"get", get_method}, {"items", items_method}, {"keys", keys_method}, {"values", values_method}};

Value index_method(const List& list, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("index", arguments, {"value"});
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (equal(list.items[i], bound.require(0), budget)) return Value(static_cast<int64_t>(i));
  }
  throw RenderError("index(): the value is not in the list");
}

Value count_method(const List& list, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("count", arguments, {"value"});
  const auto times = std::count_if(list.items.begin(), list.items.end(),
                                   [&](const Value& item) { return equal(item, bound.require(0), budget); });
  return Value(static_cast<int64_t>(times));
}

constexpr std::pair<std::string_view, ListMethod> kListMethods[] = {{"count", count_method}, {"index", index_method}};

Value cycle_method(Loop& loop, const Arguments& arguments, Budget& /*budget*/) {
  if (arguments.positional.empty()) throw RenderError("loop.cycle() needs values");
  return arguments.positional[loop.index % arguments.positional.size()];
}

Value changed_method(Loop& loop, const Arguments& arguments, Budget& budget) {
  const Values& now = arguments.positional;
  const bool same =
      loop.has_changed && std::equal(now.begin(), now.end(), loop.last_changed.begin(), loop.last_changed.end(),
                                     [&](const Value& a, const Value& b) { return equal(a, b, budget); });
  loop.has_changed = true;
  loop.last_changed = now;
  return Value(!same);
}

constexpr std::pair<std::string_view, LoopMethod> kLoopMethods[] = {{"changed", changed_method},
                                                                    {"cycle", cycle_method}};

template <typename Methods>
auto find_in(const Methods& methods, std::string_view name) -> decltype(methods[0].second) {
  for (const auto& [each, method] : methods) {
    if (each == name) return method;
  }
  return nullptr;
}

// The method with what it is bound to, which it keeps.
template <typename Held, typename Method>
Value bind(std::shared_ptr<Held> held, Method method, std::string_view name, const Value& value, Budget& budget) {
  auto call = [held = std::move(held), method, &budget](const Arguments& arguments) {
    return method(*held, arguments, budget);
  };
  return make_callable(std::string(name), std::move(call), value, budget);
}

}  // namespace

bool is_method(std::string_view name) {
  return find_in(kTextMethods, name) != nullptr || find_in(kDictMethods, name) != nullptr ||
         find_in(kListMethods, name) != nullptr || find_in(kLoopMethods, name) != nullptr;
}

std::optional<Value> find_method(const Value& value, std::string_view name, Budget& budget) {
  if (const auto* const text = std::get_if<Value::Text>(&value.variant())) {
    if (auto* const method = find_in(kTextMethods, name)) return bind(*text, method, name, value, budget);
  } else if (const auto* const dict = std::get_if<std::shared_ptr<const Dict>>(&value.variant())) {
    if (auto* const method = find_in(kDictMethods, name)) return bind(*dict, method, name, value, budget);
  } else if (const auto* const list = std::get_if<std::shared_ptr<const List>>(&value.variant())) {
    if ((*list)->kind == List::Kind::kGenerator) return std::nullopt;
    if (auto* const method = find_in(kListMethods, name)) return bind(*list, method, name, value, budget);
  } else if (const auto* const loop = std::get_if<std::shared_ptr<Loop>>(&value.variant())) {
    if (auto* const method = find_in(kLoopMethods, name)) return bind(*loop, method, name, value, budget);
  }
  return std::nullopt;
}

}  // namespace bellwether::text::jinja
