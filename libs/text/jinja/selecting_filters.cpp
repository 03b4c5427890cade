#include <fmt/format.h>

#include <string>
#include <utility>

#include "text/jinja/arguments.h"
#include "text/jinja/filter_tables.h"
#include "text/jinja/members.h"
#include "text/jinja/value_tests.h"

namespace bellwether::text::jinja {
namespace {

Value map_attribute(const Values& items, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("map", arguments, {"attribute", "default"});
  const bool has_default = bound.find(1) != nullptr && !bound.find(1)->is_none();
  Values mapped;
  for (const Value& item : items) {
    Value member = member_by_path(item, bound.require(0), budget);
    mapped.push_back(member.is_undefined() && has_default ? *bound.find(1) : std::move(member));
  }
  return make_list(std::move(mapped), budget, List::Kind::kGenerator);
}

// map('filter', its arguments), map(attribute='member').
Value map_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const auto items = items_of(input, budget);
  if (arguments.positional.empty()) return map_attribute(*items, arguments, budget);
  const std::string* const name = arguments.positional[0].if_text();
  const Filter* const filter = name == nullptr ? nullptr : find_filter(*name);
  if (filter == nullptr) throw RenderError("map() takes the name of a filter that is supported");
  const Arguments rest{.positional = {arguments.positional.begin() + 1, arguments.positional.end()},
                       .named = arguments.named};
  const Budget::Level level(budget);  // map('map', ...)
  Values mapped;
  for (const Value& item : *items) {
    budget.spend_steps(1);
    mapped.push_back(filter->apply(item, rest, budget));
  }
  return make_list(std::move(mapped), budget, List::Kind::kGenerator);
}

// select('test', its arguments), selectattr('member', 'test', its arguments); no test: what is true.
template <bool kByAttribute, bool kWanted>
Value select_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const size_t test_at = kByAttribute ? 1 : 0;
  const Values& given = arguments.positional;
  if (given.size() < test_at) throw RenderError("selectattr() and rejectattr() need the name of a member");
  const ValueTest* test = nullptr;
  Arguments rest{.positional = {}, .named = arguments.named};
  if (given.size() > test_at) {
    const std::string* const name = given[test_at].if_text();
    test = name == nullptr ? nullptr : find_test(*name);
    if (test == nullptr) throw RenderError("select() and its like take the name of a test that is supported");
    rest.positional.assign(given.begin() + static_cast<std::ptrdiff_t>(test_at) + 1, given.end());
  }
  Values selected;
  const auto items = items_of(input, budget);
  for (const Value& item : *items) {
    budget.spend_steps(1);
    const Value subject = kByAttribute ? member_by_path(item, given[0], budget) : item;
    const bool holds = test == nullptr ? is_true(subject) : test->holds(subject, rest, budget);
    if (holds == kWanted) selected.push_back(item);
  }
  return make_list(std::move(selected), budget, List::Kind::kGenerator);
}

constexpr Filter kFilters[] = {{"map", map_filter},
                               {"reject", select_filter<false, false>},
                               {"rejectattr", select_filter<true, false>},
                               {"select", select_filter<false, true>},
                               {"selectattr", select_filter<true, true>}};

}  // namespace

std::span<const Filter> selecting_filters() {
  return kFilters;
}

}  // namespace bellwether::text::jinja
