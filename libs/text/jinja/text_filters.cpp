#include <algorithm>
#include <string>
#include <utility>

#include "text/jinja/arguments.h"
#include "text/jinja/filter_tables.h"
#include "text/jinja/json_text.h"
#include "text/jinja/text_operations.h"

namespace bellwether::text::jinja {
namespace {

Value default_filter(const Value& input, const Arguments& arguments, Budget& /*budget*/) {
  const BoundArguments bound("default", arguments, {"default_value", "boolean"});
  const bool keeps = !input.is_undefined() && (!bound.is_true(1) || is_true(input));
  if (keeps) return input;
  return bound.find(0) == nullptr ? Value(std::string()) : *bound.find(0);
}

// Filters of the printed value without arguments.
template <std::string (*kMap)(std::string_view)>
Value mapping_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("a filter of case", arguments, {});
  return make_text(kMap(printed(input, budget)), budget);
}

Value string_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("string", arguments, {});
  return input.if_text() != nullptr ? input : Value(printed(input, budget));
}

Value trim_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("trim", arguments, {"chars"});
  const std::string text = printed(input, budget);
  return make_text(std::string(strip(text, bound.text(0), Sides::kBoth)), budget);
}

Value replace_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("replace", arguments, {"old", "new", "count"});
  const std::string text = printed(input, budget);
  const std::string old_text = printed(bound.require(0), budget);
  const std::string new_text = printed(bound.require(1), budget);
  const auto times = bound.integer(2);
  budget.spend_text(text.size() + count(text, old_text) * new_text.size());
  const bool limited = times && *times >= 0;
  return Value(replace(text, old_text, new_text, limited ? std::optional(static_cast<size_t>(*times)) : std::nullopt));
}

std::string indention(const BoundArguments& bound, Budget& budget) {
  if (bound.find(0) != nullptr && bound.find(0)->if_text() != nullptr) return *bound.find(0)->if_text();
  const auto width = static_cast<uint64_t>(std::max<int64_t>(bound.integer(0).value_or(4), 0));
  budget.spend_text(width);
  return std::string(width, ' ');
}

Value indent_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("indent", arguments, {"width", "first", "blank"});
  if (input.if_text() == nullptr) require_defined(input);
  if (input.if_text() == nullptr) throw RenderError("indent() takes a string");
  const std::string text = *input.if_text() + "\n";
  const std::string space = indention(bound, budget);
  const auto lines = split_lines(text, false);
  budget.spend_text(text.size() + lines.size() * space.size());
  std::string out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out.push_back('\n');
    const bool indented = i == 0 ? bound.is_true(1) : bound.is_true(2) || !lines[i].empty();
    if (indented) out.append(space);
    out.append(lines[i]);
  }
  return Value(std::move(out));
}

Value escape_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("escape", arguments, {});
  std::string out;
  for (const char c : printed(input, budget)) {
    switch (c) {
      case '&':
        out.append("&amp;");
        break;
      case '<':
        out.append("&lt;");
        break;
      case '>':
        out.append("&gt;");
        break;
      case '\'':
        out.append("&#39;");
        break;
      case '"':
        out.append("&#34;");
        break;
      default:
        out.push_back(c);
    }
  }
  return make_text(std::move(out), budget);
}

Value wordcount_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("wordcount", arguments, {});
  const std::string text = printed(input, budget);
  int64_t words = 0;
  bool inside = false;
  for (const std::string_view character : Characters(text)) {
    const bool in_word = is_letter(character) || is_digit(character) || character == "_";
    words += in_word && !inside ? 1 : 0;
    inside = in_word;
  }
  return Value(words);
}

Value safe_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  return string_filter(input, arguments, budget);  // nothing is escaped by itself here
}

JsonStyle json_style(const BoundArguments& bound) {
  JsonStyle style{.ascii = bound.is_true(0), .sorts_keys = bound.is_true(3)};
  if (bound.find(1) != nullptr && bound.find(1)->if_text() != nullptr) {
    style.indent = *bound.find(1)->if_text();
  } else if (const auto indent = bound.integer(1)) {
    if (*indent > 256) throw RenderError("tojson(): 'indent' must be at most 256");
    style.indent = std::string(static_cast<size_t>(std::max<int64_t>(*indent, 0)), ' ');
  }
  if (style.indent) style.item_separator = ",";
  const Value* const separators = bound.find(2);
  if (separators == nullptr || separators->is_none()) return style;
  const List* const pair = separators->if_list();
  const bool fits = pair != nullptr && pair->items.size() == 2 && pair->items[0].if_text() != nullptr &&
                    pair->items[1].if_text() != nullptr;
  if (!fits) throw RenderError("tojson(): 'separators' must be two strings");
  style.item_separator = *pair->items[0].if_text();
  style.key_separator = *pair->items[1].if_text();
  return style;
}

Value tojson_filter(const Value& input, const Arguments& arguments, Budget& budget) {
  const BoundArguments bound("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  return Value(to_json_text(input, json_style(bound), budget));
}

constexpr Filter kFilters[] = {{"capitalize", mapping_filter<capitalize>},
                               {"d", default_filter},
                               {"default", default_filter},
                               {"e", escape_filter},
                               {"escape", escape_filter},
                               {"indent", indent_filter},
                               {"lower", mapping_filter<to_lower>},
                               {"replace", replace_filter},
                               {"safe", safe_filter},
                               {"string", string_filter},
                               {"title", mapping_filter<title_parts>},
                               {"tojson", tojson_filter},
                               {"trim", trim_filter},
                               {"upper", mapping_filter<to_upper>},
                               {"wordcount", wordcount_filter}};

}  // namespace

std::span<const Filter> text_filters() {
  return kFilters;
}

}  // namespace bellwether::text::jinja
