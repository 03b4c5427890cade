#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <string>
#include <utility>

#include "text/jinja/arguments.h"
#include "text/jinja/filter_tables.h"
#include "text/jinja/members.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_operations.h"

namespace bellwether::text::jinja {
namespace {

// What items are compared by: a member of each, texts without case unless they are told apart.
Value sort_key(const Value& item, const Value* attribute, bool case_sensitive, Budget& budget) {
  Value key = attribute == nullptr || attribute->is_none() ? item : member_by_path(item, *attribute, budget);
  if (case_sensitive || key.if_text() == nullptr) return key;
  return make_text(to_lower(*key.if_text()), budget);
}

using Keyed = std::pair<Value, Value>;  // key, item

// A list's sort is stable, and harmless where NaN makes an order that is none.
void sort_by_key(std::list<Keyed>& keyed, bool reverse, Budget& budget) {
  keyed.sort([&](const Keyed& a, const Keyed& b) {
    return reverse ? less(b.first, a.first, budget) : less(a.first, b.first, budget);
  });
}

Value items_of_keyed(std::list<Keyed> keyed, Budget& budget) {
  Values items;
  for (Keyed& each : keyed) items.push_back(std::move(each.second));
  return make_list(std::move(items), budget);
}

// "a,b": by a, and by b where a is equal.
Value sort_keys(const Value& item, const Value* attribute, bool case_sensitive, Budget& budget) {
  const std::string* const names = attribute == nullptr ? nullptr : attribute->if_text();
  if (names == nullptr) return sort_key(item, attribute, case_sensitive, budget);
  Values keys;
  for (const std::string_view name : split(*names, ",", std::nullopt, Sides::kLeft)) {
    const Value path = make_text(std::string(name), budget);
    keys.push_back(sort_key(item, &path, case_sensitive, budget));
  }
  return make_list(std::move(keys), budget);
}

Value sort_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  std::list<Keyed> keyed;
  const auto items = items_of(input, budget);
  for (const Value& item : *items) {
    keyed.emplace_back(sort_keys(item, bound.find(2), bound.is_true(1), budget), item);
  }
  sort_by_key(keyed, bound.is_true(0), budget);
  return items_of_keyed(std::move(keyed), budget);
}

Value dictsort_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const std::string_view by = bound.text(1).value_or("key");
  if (by != "key" && by != "value") throw RenderError("dictsort(): 'by' must be \"key\" or \"value\"");
  const Dict* const dict = input.if_dict();
  require_defined(input);
  if (dict == nullptr) throw RenderError("dictsort() takes a mapping");
  std::list<Keyed> keyed;
  for (const auto& [key, value] : dict->members) {
    keyed.emplace_back(sort_key(by == "key" ? key : value, nullptr, bound.is_true(0), budget),
                       make_list({key, value}, budget, List::Kind::kTuple));
  }
  sort_by_key(keyed, bound.is_true(2), budget);
  return items_of_keyed(std::move(keyed), budget);
}

template <bool kMaximum>
Value extreme_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound(kMaximum ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  const auto items = items_of(input, budget);
  if (items->empty()) return Undefined{"No aggregated item, sequence was empty."};
  Keyed best{sort_key(items->front(), bound.find(1), bound.is_true(0), budget), items->front()};
  for (const Value& item : *items) {
    Value key = sort_key(item, bound.find(1), bound.is_true(0), budget);
    const bool better = kMaximum ? less(best.first, key, budget) : less(key, best.first, budget);
    if (better) best = {std::move(key), item};
  }
  return best.second;
}

Value unique_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("unique", arguments, {"case_sensitive", "attribute"});
  Values keys;
  Values unique;
  const auto items = items_of(input, budget);
  for (const Value& item : *items) {
    Value key = sort_key(item, bound.find(1), bound.is_true(0), budget);
    const bool known =
        std::any_of(keys.begin(), keys.end(), [&](const Value& each) { return equal(each, key, budget); });
    if (known) continue;
    keys.push_back(std::move(key));
    unique.push_back(item);
  }
  return make_list(std::move(unique), budget, List::Kind::kGenerator);
}

// Pairs of a key and the items that have it, in the keys' order.
Value groupby_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("groupby", arguments, {"attribute", "default", "case_sensitive"});
  const Value& attribute = bound.require(0);
  const auto plain_key = [&](const Value& item) {
    Value key = member_by_path(item, attribute, budget);
    return key.is_undefined() && bound.find(1) != nullptr ? *bound.find(1) : key;
  };
  std::list<Keyed> keyed;
  const auto items = items_of(input, budget);
  for (const Value& item : *items) {
    keyed.emplace_back(sort_key(plain_key(item), nullptr, bound.is_true(2), budget), item);
  }
  sort_by_key(keyed, false, budget);
  Values groups;
  for (auto begin = keyed.begin(); begin != keyed.end();) {
    Values group;
    auto end = begin;
    for (; end != keyed.end() && equal(end->first, begin->first, budget); ++end) group.push_back(end->second);
    if (group.empty()) group.push_back((end++)->second);  // NaN does not equal itself
    Value key = plain_key(begin->second);
    groups.push_back(make_list({std::move(key), make_list(std::move(group), budget)}, budget, List::Kind::kTuple));
    begin = end;
  }
  return make_list(std::move(groups), budget);
}

Value length_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("length", arguments, {});
  if (input.is_undefined()) return Value(int64_t{0});
  if (const std::string* const text = input.if_text()) {
    budget.spend_steps(text->size() / 64);
    return Value(static_cast<int64_t>(count_characters(*text)));
  }
  if (const Dict* const dict = input.if_dict()) return Value(static_cast<int64_t>(dict->members.size()));
  if (const Loop* const loop = input.if_loop()) return Value(static_cast<int64_t>(loop->items->size()));
  const List* const list = input.if_list();
  if (list == nullptr || list->kind == List::Kind::kGenerator) {
    throw RenderError(fmt::format("object of type '{}' has no length", type_name(input)));
  }
  return Value(static_cast<int64_t>(list->items.size()));
}

Value first_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("first", arguments, {});
  const auto items = items_of(input, budget);
  return items->empty() ? Value(Undefined{"No first item, sequence was empty."}) : items->front();
}

Value last_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("last", arguments, {});
  if (input.if_list() != nullptr && input.if_list()->kind == List::Kind::kGenerator) {
    throw RenderError("'generator' object is not reversible");
  }
  const auto items = items_of(input, budget);
  return items->empty() ? Value(Undefined{"No last item, sequence was empty."}) : items->back();
}

Value list_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("list", arguments, {});
  return make_list(*items_of(input, budget), budget);
}

Value reverse_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("reverse", arguments, {});
  Values items = *items_of(input, budget);
  std::reverse(items.begin(), items.end());
  if (input.if_text() == nullptr) return make_list(std::move(items), budget, List::Kind::kGenerator);
  std::string text;
  for (const Value& character : items) text.append(*character.if_text());
  return make_text(std::move(text), budget);
}

Value items_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("items", arguments, {});
  const Dict* const dict = input.if_dict();
  if (dict == nullptr && !input.is_undefined()) throw RenderError("items() takes a mapping");
  Values pairs;
  if (dict != nullptr) {
    for (const auto& [key, value] : dict->members) pairs.push_back(make_list({key, value}, budget, List::Kind::kTuple));
  }
  return make_list(std::move(pairs), budget, List::Kind::kGenerator);
}

Value join_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("join", arguments, {"d", "attribute"});
  const std::string separator = bound.find(0) == nullptr ? std::string() : printed(*bound.find(0), budget);
  const Value* const attribute = bound.find(1);
  std::string text;
  bool first = true;
  const auto items = items_of(input, budget);
  for (const Value& item : *items) {
    if (!std::exchange(first, false)) {
      budget.spend_text(separator.size());
      text.append(separator);
    }
    append_printed(attribute == nullptr ? item : member_by_path(item, *attribute, budget), text, budget);
  }
  return Value(std::move(text));
}

Value sum_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("sum", arguments, {"attribute", "start"});
  const Value* const attribute = bound.find(0);
  Value sum = bound.find(1) == nullptr ? Value(int64_t{0}) : *bound.find(1);
  const auto items = items_of(input, budget);
  for (const Value& item : *items) {
    const bool whole = attribute == nullptr || attribute->is_none();
    sum = apply(BinaryOperator::kAdd, sum, whole ? item : member_by_path(item, *attribute, budget), budget);
  }
  return sum;
}

Value batch_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("batch", arguments, {"linecount", "fill_with"});
  (void)bound.require(0);
  const int64_t size = bound.integer(0).value_or(0);
  if (size < 1) throw RenderError("batch(): 'linecount' must be at least 1");
  const auto items = items_of(input, budget);
  Values batches;
  for (size_t begin = 0; begin < items->size(); begin += static_cast<size_t>(size)) {
    const size_t end = std::min(items->size(), begin + static_cast<size_t>(size));
    Values batch(items->begin() + static_cast<std::ptrdiff_t>(begin),
                 items->begin() + static_cast<std::ptrdiff_t>(end));
    if (bound.find(1) != nullptr && !bound.find(1)->is_none()) {
      budget.spend_steps(static_cast<uint64_t>(size));
      batch.resize(static_cast<size_t>(size), *bound.find(1));
    }
    batches.push_back(make_list(std::move(batch), budget));
  }
  return make_list(std::move(batches), budget, List::Kind::kGenerator);
}

Value attr_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("attr", arguments, {"name"});
  const std::string& name = bound.require_text(0);
  if (input.if_dict() == nullptr) return attribute_of(input, name, budget);
  return Undefined{fmt::format("'dict object' has no attribute '{}'", name)};  // keys are no attributes
}

constexpr Filter kFilters[] = {{"attr", attr_filter},          {"batch", batch_filter},
                               {"count", length_filter},       {"dictsort", dictsort_filter},
                               {"first", first_filter},        {"groupby", groupby_filter},
                               {"items", items_filter},        {"join", join_filter},
                               {"last", last_filter},          {"length", length_filter},
                               {"list", list_filter},          {"max", extreme_filter<true>},
                               {"min", extreme_filter<false>}, {"reverse", reverse_filter},
                               {"sort", sort_filter},          {"sum", sum_filter},
                               {"unique", unique_filter}};

}  // namespace

std::span<const Filter> item_filters() {
  return kFilters;
}

}  // namespace bellwether::text::jinja
