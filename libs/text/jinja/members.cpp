#include "text/jinja/members.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "text/jinja/methods.h"
#include "text/jinja/text_operations.h"

namespace bellwether::text::jinja {
namespace {

Value missing(const Value& object, std::string_view name) {
  const std::string type = object.is_none() ? "None" : fmt::format("'{} object'", type_name(object));
  return Undefined{fmt::format("{} has no attribute '{}'", type, name)};
}

Value missing_element(const Value& object, const Value& key, Budget& budget) {
  if (const std::string* const name = key.if_text()) return missing(object, *name);
  return Undefined{fmt::format("'{} object' has no element {}", type_name(object), printed(key, budget))};
}

Value loop_member(const Loop& loop, std::string_view name) {
  const auto size = static_cast<int64_t>(loop.items->size());
  const auto index = static_cast<int64_t>(loop.index);
  if (name == "index") return Value(index + 1);
  if (name == "index0") return Value(index);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(index + 1 == size);
  if (name == "length") return Value(size);
  if (name == "revindex") return Value(size - index);
  if (name == "revindex0") return Value(size - index - 1);
  if (name == "depth") return Value(int64_t{1});  // of recursion, which there is none
  if (name == "depth0") return Value(int64_t{0});
  if (name == "previtem") {
    return index == 0 ? Value(Undefined{"there is no previous item"}) : (*loop.items)[loop.index - 1];
  }
  if (name == "nextitem") {
    return index + 1 == size ? Value(Undefined{"there is no next item"}) : (*loop.items)[loop.index + 1];
  }
  return Undefined{fmt::format("'LoopContext object' has no attribute '{}'", name)};
}

// Python's index from the front, or from the end when negative.
std::optional<size_t> position(int64_t index, size_t size) {
  if (index < 0) index += static_cast<int64_t>(size);
  if (index < 0 || index >= static_cast<int64_t>(size)) return std::nullopt;
  return static_cast<size_t>(index);
}

std::optional<std::string> character_at(const std::string& text, int64_t index, Budget& budget) {
  budget.spend_steps(text.size() / 64);
  const auto at = position(index, count_characters(text));
  if (!at) return std::nullopt;
  budget.spend_steps(*at / 8);
  auto character = Characters(text).begin();
  for (size_t i = 0; i < *at; ++i) ++character;
  return std::string(*character);
}

std::optional<Value> element_at(const Value& object, int64_t index, Budget& budget) {
  if (const List* const list = object.if_list()) {
    if (list->kind == List::Kind::kGenerator) return std::nullopt;
    const auto at = position(index, list->items.size());
    return at ? std::optional(list->items[*at]) : std::nullopt;
  }
  if (const std::string* const text = object.if_text()) {
    const auto character = character_at(*text, index, budget);
    return character ? std::optional(make_text(*character, budget)) : std::nullopt;
  }
  return std::nullopt;
}

// The positions that a slice takes, as Python's slice.indices() and range() do.
std::vector<size_t> slice_positions(const Value& from, const Value& to, int64_t step, int64_t size) {
  const auto bound = [&](const Value& value, int64_t if_missing) {
    if (value.is_none()) return if_missing;
    int64_t room = 0;
    const int64_t* const integer = value.if_integer(room);
    if (integer == nullptr) throw RenderError("the bounds of a slice must be integers");
    const int64_t index = *integer < 0 ? std::max(*integer, -size - 1) + size : *integer;
    return step > 0 ? std::clamp<int64_t>(index, 0, size) : std::clamp<int64_t>(index, -1, size - 1);
  };
  const int64_t begin = bound(from, step > 0 ? 0 : size - 1);
  const int64_t end = bound(to, step > 0 ? size : -1);
  std::vector<size_t> positions;
  for (int64_t i = begin; step > 0 ? i < end : i > end; i += step) positions.push_back(static_cast<size_t>(i));
  return positions;
}

int64_t slice_step(const Value& step, int64_t size) {
  if (step.is_none()) return 1;
  int64_t room = 0;
  const int64_t* const integer = step.if_integer(room);
  if (integer == nullptr || *integer == 0) throw RenderError("the step of a slice must be an integer other than 0");
  return std::clamp<int64_t>(*integer, -size - 1, size + 1);
}

}  // namespace

Value attribute_of(const Value& object, std::string_view name, Budget& budget) {
  require_defined(object);
  if (const Loop* const loop = object.if_loop()) {
    if (auto method = find_method(object, name, budget)) return *method;
    return loop_member(*loop, name);
  }
  if (const Namespace* const space = object.if_namespace()) {
    const auto found = space->members.find(name);
    return found == space->members.end() ? missing(object, name) : found->second;
  }
  if (auto method = find_method(object, name, budget)) return *method;
  if (const Dict* const dict = object.if_dict()) {
    budget.spend_steps(dict->members.size() / 16);
    if (const Value* const found = dict->find(name)) return *found;
  }
  return missing(object, name);
}

Value item_of(const Value& object, const Value& key, Budget& budget) {
  require_defined(object);
  int64_t room = 0;
  if (const Dict* const dict = object.if_dict()) {
    budget.spend_steps(dict->members.size() / 16);
    if (const Value* const found = dict->find(key)) return *found;
  } else if (const int64_t* const index = key.if_integer(room)) {
    if (auto element = element_at(object, *index, budget)) return *element;
  }
  if (const std::string* const name = key.if_text()) return attribute_of(object, *name, budget);
  return missing_element(object, key, budget);
}

Value slice_of(const Value& object, const Value& from, const Value& to, const Value& step, Budget& budget) {
  require_defined(object);
  if (const std::string* const text = object.if_text()) {
    budget.spend_steps(text->size());
    std::vector<std::string_view> characters;
    for (const std::string_view character : Characters(*text)) characters.push_back(character);
    const auto size = static_cast<int64_t>(characters.size());
    std::string out;
    for (const size_t at : slice_positions(from, to, slice_step(step, size), size)) out.append(characters[at]);
    return make_text(std::move(out), budget);
  }
  const List* const list = object.if_list();
  if (list == nullptr || list->kind == List::Kind::kGenerator) {
    return Undefined{fmt::format("a '{}' cannot be sliced", type_name(object))};
  }
  const auto size = static_cast<int64_t>(list->items.size());
  Values items;
  for (const size_t at : slice_positions(from, to, slice_step(step, size), size)) items.push_back(list->items[at]);
  return make_list(std::move(items), budget, list->kind);
}

Value member_by_path(const Value& object, const Value& path, Budget& budget) {
  const std::string* const names = path.if_text();
  if (names == nullptr) return item_of(object, path, budget);
  Value found = object;
  for (const std::string_view name : split(*names, ".", std::nullopt, Sides::kLeft)) {
    int64_t index = 0;
    const auto read = std::from_chars(name.data(), name.data() + name.size(), index);
    const bool is_index =
        !name.empty() && name[0] != '-' && read.ec == std::errc() && read.ptr == name.data() + name.size();
    found = item_of(found, is_index ? Value(index) : make_text(std::string(name), budget), budget);
  }
  return found;
}

}  // namespace bellwether::text::jinja
