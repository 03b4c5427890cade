#include "text/jinja/value.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/jinja/text_operations.h"
#include "text/python_json.h"

namespace bellwether::text::jinja {
namespace {

template <typename T>
const T* get_if_shared(const Value::Variant& variant) {
  const auto* const held = std::get_if<std::shared_ptr<const T>>(&variant);
  return held == nullptr ? nullptr : held->get();
}

size_t depth_of(const Value& value) {
  if (const List* const list = value.if_list()) return list->depth;
  if (const Dict* const dict = value.if_dict()) return dict->depth;
  if (const Callable* const callable = value.if_callable()) return callable->depth;
  return 0;
}

size_t checked_depth(size_t depth, const Budget& budget) {
  if (depth > budget.limits().depth_max) {
    throw RenderError(fmt::format("makes a value nested deeper than {} levels", budget.limits().depth_max));
  }
  return depth;
}

// NaN aside, as Python compares integers and floats: exactly.
bool equal_numbers(int64_t a, double b) {
  return static_cast<double>(a) == b && (b >= 9.3e18 || static_cast<int64_t>(b) == a);
}

bool equal_lists(const List& a, const List& b, Budget& budget) {
  if (&a == &b) return true;
  if (a.kind != b.kind || a.kind == List::Kind::kGenerator || a.items.size() != b.items.size()) return false;
  return std::equal(a.items.begin(), a.items.end(), b.items.begin(),
                    [&](const Value& x, const Value& y) { return equal(x, y, budget); });
}

const Value* find_key(const Dict& dict, const Value& key, Budget& budget) {
  budget.spend_steps(1 + dict.members.size() / 16);
  return dict.find(key);
}

bool equal_dicts(const Dict& a, const Dict& b, Budget& budget) {
  if (a.members.size() != b.members.size()) return false;
  return std::all_of(a.members.begin(), a.members.end(), [&](const auto& member) {
    const Value* const other = find_key(b, member.first, budget);
    return other != nullptr && equal(member.second, *other, budget);
  });
}

// Keys are hashable: no lists, dicts and the like inside.
bool equal_keys(const Value& a, const Value& b) {
  const std::string* const text = a.if_text();
  const std::string* const other = b.if_text();
  if (text != nullptr || other != nullptr) return text != nullptr && other != nullptr && *text == *other;
  Budget unlimited{Limits{}};
  return equal(a, b, unlimited);
}

void append_repr(const Value& value, std::string& text, Budget& budget);

void append_list(const List& list, std::string& text, Budget& budget) {
  if (list.kind == List::Kind::kGenerator) {
    text.append("<generator object>");
    return;
  }
  const bool tuple = list.kind == List::Kind::kTuple;
  text.push_back(tuple ? '(' : '[');
  std::string_view separator;
  for (const Value& item : list.items) {
    text.append(separator);
    append_repr(item, text, budget);
    separator = ", ";
  }
  if (tuple && list.items.size() == 1) text.push_back(',');
  text.push_back(tuple ? ')' : ']');
}

void append_dict(const Dict& dict, std::string& text, Budget& budget) {
  text.push_back('{');
  std::string_view separator;
  for (const auto& [key, value] : dict.members) {
    text.append(separator);
    append_repr(key, text, budget);
    text.append(": ");
    append_repr(value, text, budget);
    separator = ", ";
  }
  text.push_back('}');
}

// As it stands inside a list or a dict.
void append_repr(const Value& value, std::string& text, Budget& budget) {
  if (const std::string* const string = value.if_text()) {
    budget.spend_text(string->size());
    append_python_literal(*string, text);
  } else if (value.is_undefined()) {
    text.append("Undefined");
  } else {
    append_printed(value, text, budget);
  }
}

}  // namespace

const std::string* Value::if_text() const {
  const Text* const text = std::get_if<Text>(&variant_);
  return text == nullptr ? nullptr : text->get();
}

const List* Value::if_list() const {
  return get_if_shared<List>(variant_);
}
const Dict* Value::if_dict() const {
  return get_if_shared<Dict>(variant_);
}
const Callable* Value::if_callable() const {
  return get_if_shared<Callable>(variant_);
}

Namespace* Value::if_namespace() const {
  const auto* const held = std::get_if<std::shared_ptr<Namespace>>(&variant_);
  return held == nullptr ? nullptr : held->get();
}

Loop* Value::if_loop() const {
  const auto* const held = std::get_if<std::shared_ptr<Loop>>(&variant_);
  return held == nullptr ? nullptr : held->get();
}

const int64_t* Value::if_integer(int64_t& room) const {
  if (const bool* const boolean = std::get_if<bool>(&variant_)) {
    room = *boolean ? 1 : 0;
    return &room;
  }
  return std::get_if<int64_t>(&variant_);
}

bool Value::is_number() const {
  return std::holds_alternative<bool>(variant_) || std::holds_alternative<int64_t>(variant_) ||
         std::holds_alternative<double>(variant_);
}

const Value* Dict::find(const Value& key) const {
  if (const std::string* const text = key.if_text()) return find(*text);
  const auto found =
      std::find_if(members.begin(), members.end(), [&](const auto& member) { return equal_keys(member.first, key); });
  return found == members.end() ? nullptr : &found->second;
}

const Value* Dict::find(std::string_view key) const {
  for (const auto& [name, value] : members) {
    const std::string* const text = name.if_text();
    if (text != nullptr && *text == key) return &value;
  }
  return nullptr;
}

Value make_list(Values items, Budget& budget, List::Kind kind) {
  budget.spend_steps(items.size());
  size_t depth = 0;
  for (const Value& item : items) depth = std::max(depth, depth_of(item));
  depth = checked_depth(depth + 1, budget);
  return Value(std::make_shared<const List>(List{.kind = kind, .items = std::move(items), .depth = depth}));
}

Value make_dict(std::vector<std::pair<Value, Value>> members, Budget& budget) {
  Dict dict;
  for (auto& [key, value] : members) {
    if (key.if_dict() != nullptr || (key.if_list() != nullptr && key.if_list()->kind == List::Kind::kList)) {
      throw RenderError(fmt::format("a {} cannot be a key", type_name(key)));
    }
    dict.depth = std::max({dict.depth, depth_of(key) + 1, depth_of(value) + 1});
    budget.spend_steps(1 + dict.members.size() / 16);
    const auto earlier = std::find_if(dict.members.begin(), dict.members.end(),
                                      [&](const auto& member) { return equal_keys(member.first, key); });
    if (earlier == dict.members.end()) {
      dict.members.emplace_back(std::move(key), std::move(value));
    } else {
      earlier->second = std::move(value);
    }
  }
  checked_depth(dict.depth, budget);
  return Value(std::make_shared<const Dict>(std::move(dict)));
}

Value make_dict_of_distinct(std::vector<std::pair<Value, Value>> members, Budget& budget) {
  budget.spend_steps(members.size());
  size_t depth = 1;
  for (const auto& member : members) depth = std::max(depth, depth_of(member.second) + 1);
  checked_depth(depth, budget);
  return Value(std::make_shared<const Dict>(Dict{.members = std::move(members), .depth = depth}));
}

Value make_text(std::string text, Budget& budget) {
  budget.spend_text(text.size());
  return Value(std::move(text));
}

Value make_callable(std::string name, std::function<Value(const Arguments&)> call, const Value& bound_to,
                    Budget& budget) {
  const size_t depth = checked_depth(depth_of(bound_to) + 1, budget);
  return Value(
      std::make_shared<const Callable>(Callable{.name = std::move(name), .call = std::move(call), .depth = depth}));
}

bool is_true(const Value& value) {
  if (const bool* const boolean = std::get_if<bool>(&value.variant())) return *boolean;
  if (const int64_t* const integer = std::get_if<int64_t>(&value.variant())) return *integer != 0;
  if (const double* const number = std::get_if<double>(&value.variant())) return *number != 0;
  if (const std::string* const text = value.if_text()) return !text->empty();
  if (const List* const list = value.if_list()) return list->kind == List::Kind::kGenerator || !list->items.empty();
  if (const Dict* const dict = value.if_dict()) return !dict->members.empty();
  return !value.is_undefined() && !value.is_none();
}

bool equal(const Value& a, const Value& b, Budget& budget) {
  budget.spend_steps(1);
  int64_t room_a = 0;
  int64_t room_b = 0;
  const int64_t* const integer_a = a.if_integer(room_a);
  const int64_t* const integer_b = b.if_integer(room_b);
  const double* const float_a = std::get_if<double>(&a.variant());
  const double* const float_b = std::get_if<double>(&b.variant());
  if (integer_a != nullptr && integer_b != nullptr) return *integer_a == *integer_b;
  if (integer_a != nullptr && float_b != nullptr) return equal_numbers(*integer_a, *float_b);
  if (float_a != nullptr && integer_b != nullptr) return equal_numbers(*integer_b, *float_a);
  if (a.variant().index() != b.variant().index()) return false;
  if (float_a != nullptr) return *float_a == *float_b;
  if (const std::string* const text = a.if_text()) {
    budget.spend_steps(text->size() / 64);
    return *text == *b.if_text();
  }
  if (a.if_list() != nullptr) return equal_lists(*a.if_list(), *b.if_list(), budget);
  if (a.if_dict() != nullptr) return equal_dicts(*a.if_dict(), *b.if_dict(), budget);
  if (a.is_undefined() || a.is_none()) return true;
  if (a.if_namespace() != nullptr) return a.if_namespace() == b.if_namespace();
  if (a.if_loop() != nullptr) return a.if_loop() == b.if_loop();
  return a.if_callable() == b.if_callable();
}

void append_printed(const Value& value, std::string& text, Budget& budget) {
  budget.spend_steps(1);
  const size_t before = text.size();
  if (const std::string* const string = value.if_text()) {
    text.append(*string);
  } else if (value.is_none()) {
    text.append("None");
  } else if (const bool* const boolean = std::get_if<bool>(&value.variant())) {
    text.append(*boolean ? "True" : "False");
  } else if (const int64_t* const integer = std::get_if<int64_t>(&value.variant())) {
    text.append(std::to_string(*integer));
  } else if (const double* const number = std::get_if<double>(&value.variant())) {
    append_python_float(*number, text);
  } else if (const List* const list = value.if_list()) {
    append_list(*list, text, budget);
  } else if (const Dict* const dict = value.if_dict()) {
    append_dict(*dict, text, budget);
  } else if (const Loop* const loop = value.if_loop()) {
    text.append(fmt::format("<LoopContext {}/{}>", loop->index + 1, loop->items->size()));
  } else if (value.if_namespace() != nullptr) {
    text.append("<Namespace>");
  } else if (const Callable* const callable = value.if_callable()) {
    text.append(fmt::format("<function '{}'>", callable->name));
  }
  budget.spend_text(text.size() - before);
}

std::string printed(const Value& value, Budget& budget) {
  std::string text;
  append_printed(value, text, budget);
  return text;
}

std::string_view type_name(const Value& value) {
  if (const List* const list = value.if_list()) {
    if (list->kind == List::Kind::kTuple) return "tuple";
    return list->kind == List::Kind::kList ? "list" : "generator";
  }
  constexpr std::string_view kNames[] = {"Undefined", "NoneType", "bool",      "int",         "float",   "str",
                                         "list",      "dict",     "Namespace", "LoopContext", "function"};
  return kNames[value.variant().index()];
}

void fail_undefined(const Undefined& undefined) {
  throw RenderError(undefined.message);
}

void require_defined(const Value& value) {
  if (const auto* const undefined = std::get_if<Undefined>(&value.variant())) fail_undefined(*undefined);
}

std::shared_ptr<const Values> items_of(const Value& value, Budget& budget) {
  if (const auto* const list = std::get_if<std::shared_ptr<const List>>(&value.variant())) {
    const bool gone = (*list)->kind == List::Kind::kGenerator && std::exchange((*list)->is_consumed, true);
    if (!gone) return {*list, &(*list)->items};
    return std::make_shared<const Values>();
  }
  Values items;
  if (const Dict* const dict = value.if_dict()) {
    budget.spend_steps(dict->members.size());
    for (const auto& member : dict->members) items.push_back(member.first);
  } else if (const std::string* const text = value.if_text()) {
    for (const std::string_view character : Characters(*text)) {
      items.push_back(make_text(std::string(character), budget));
      budget.spend_steps(1);
    }
  } else if (!value.is_undefined()) {
    throw RenderError(fmt::format("'{}' object is not iterable", type_name(value)));
  }
  return std::make_shared<const Values>(std::move(items));
}

bool is_iterable(const Value& value) {
  return value.if_list() != nullptr || value.if_dict() != nullptr || value.if_text() != nullptr ||
         value.if_loop() != nullptr || value.is_undefined();
}

}  // namespace bellwether::text::jinja
