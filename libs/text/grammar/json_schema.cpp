#include "text/grammar/json_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/grammar/automaton.h"
#include "text/grammar/expression.h"
#include "text/grammar/grammar_error.h"
#include "text/grammar/pattern.h"
#include "text/grammar/schema_facets.h"
#include "text/grammar/string_format.h"

namespace bellwether::text::grammar {

namespace json = boost::json;

namespace {

using Schemas = std::vector<SchemaSource>;  // that must all hold

uint8_t type_of(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return Types::kNull;
    case json::kind::bool_:
      return Types::kBoolean;
    case json::kind::int64:
    case json::kind::uint64:
      return Types::kInteger;
    case json::kind::double_:
      return std::floor(value.get_double()) == value.get_double() ? Types::kInteger : Types::kFraction;
    case json::kind::string:
      return Types::kString;
    case json::kind::array:
      return Types::kArray;
    case json::kind::object:
      return Types::kObject;
  }
  return 0;
}

const json::array* array_member(const json::value& schema, std::string_view name) {
  const json::value* const member = schema.is_object() ? schema.get_object().if_contains(name) : nullptr;
  return member == nullptr ? nullptr : member->if_array();
}

// The one member of a schema that says anything, if it is a $ref.
const json::value* only_reference(const json::value& schema) {
  if (!schema.is_object()) return nullptr;
  const json::value* reference = nullptr;
  for (const auto& member : schema.get_object()) {
    if (is_annotation(member.key())) continue;
    if (member.key() != "$ref") return nullptr;
    reference = &member.value();
  }
  return reference;
}

// Whether what a schema says of a value itself, not of its parts, is partly said elsewhere.
bool has_reference(const json::value& schema, size_t depth) {
  if (!schema.is_object() || depth == 0) return false;
  if (schema.get_object().contains("$ref")) return true;
  for (const char* name : {"allOf", "anyOf", "oneOf"}) {
    const json::array* const schemas = array_member(schema, name);
    if (schemas == nullptr) continue;
    for (const json::value& each : *schemas) {
      if (has_reference(each, depth - 1)) return true;
    }
  }
  return false;
}

// A choice between schemas, and nothing beside it.
const json::array* only_choice(const json::value& schema) {
  if (!schema.is_object()) return nullptr;
  const json::array* choice = nullptr;
  for (const auto& member : schema.get_object()) {
    if (is_annotation(member.key())) continue;
    const bool is_choice = member.key() == "anyOf" || member.key() == "oneOf";
    if (!is_choice || choice != nullptr) return nullptr;
    choice = member.value().if_array();
  }
  return choice;
}

bool is_false(const json::value& schema) {
  return schema.is_bool() && !schema.get_bool();
}

// Cheap to write again and again.
bool is_small(const Schemas& schemas) {
  return std::ranges::all_of(schemas, [](const SchemaSource& schema) {
    if (!schema.value->is_object()) return false;
    for (const auto& member : schema.value->get_object()) {
      if (is_annotation(member.key())) continue;
      const json::string* const type = member.key() == "type" ? member.value().if_string() : nullptr;
      if (type == nullptr || *type == "array" || *type == "object") return false;
    }
    return true;
  });
}

class SchemaWriter {
 public:
  SchemaWriter(Nfa& nfa, const json::value& document, AnyJson& any)
      : nfa_(nfa), document_(document), any_(any), reader_(document, nfa.budget()) {}

  State append(State from, bool objects_only) {
    Schemas schemas = {{.value = &document_, .path = ""}};
    if (objects_only) schemas.push_back({.value = &object_, .path = ""});
    const State after = append_schemas(from, schemas);
    while (!wanted_.empty()) {
      const auto [rule, rule_schemas] = std::move(wanted_.back());
      wanted_.pop_back();
      nfa_.end_rule(rule, append_here(nfa_.first_of(rule), rule_schemas));
    }
    return after;
  }

 private:
  // Where schemas refer to others, a rule of their own, so that recursion ends.
  State append_schemas(State from, const Schemas& schemas) {
    const bool is_plain_choice = schemas.size() == 1 && only_choice(*schemas[0].value) != nullptr;
    if (is_plain_choice) return append_here(from, schemas);
    if (const auto target = only_target(schemas)) return append_rule(from, {*target});
    const size_t depth_max = nfa_.limits().depth_max;
    const bool refers = std::ranges::any_of(
        schemas, [&](const SchemaSource& schema) { return has_reference(*schema.value, depth_max); });
    return refers ? append_rule(from, schemas) : append_here(from, schemas);
  }

  [[nodiscard]] std::optional<SchemaSource> only_target(const Schemas& schemas) const {
    if (schemas.size() != 1) return std::nullopt;
    const json::value* const reference = only_reference(*schemas[0].value);
    if (reference == nullptr) return std::nullopt;
    return reader_.resolve(*reference, child_path(schemas[0].path, "$ref"));
  }

  State append_rule(State from, const Schemas& schemas) {
    std::vector<const json::value*> key;
    for (const SchemaSource& schema : schemas) key.push_back(schema.value);
    const auto [entry, is_new] = rules_.try_emplace(std::move(key), 0);
    if (is_new) {
      entry->second = nfa_.add_rule();
      wanted_.emplace_back(entry->second, schemas);
    }
    return nfa_.append_call(from, entry->second);
  }

  State append_here(State from, const Schemas& schemas) {
    const size_t depth_max = nfa_.limits().depth_max;
    if (depth_ == depth_max) {
      throw GrammarError(schemas[0].path, fmt::format("is nested more than {} deep", depth_max));
    }
    ++depth_;
    State after = 0;
    if (const auto target = only_target(schemas)) {
      after = append_rule(from, {*target});
    } else if (schemas.size() == 1 && only_choice(*schemas[0].value) != nullptr) {
      after = append_only_choice(from, schemas[0]);
    } else {
      SchemaFacets facets;
      for (const SchemaSource& schema : schemas) reader_.read(schema, facets);
      after = append_facets(from, std::move(facets));
    }
    --depth_;
    return after;
  }

  State append_only_choice(State from, const SchemaSource& schema) {
    SchemaFacets facets;
    reader_.read(schema, facets);  // checks it
    const SchemaSource& choice = facets.choices[0];
    const json::array& branches = choice.value->get_array();
    const State after = nfa_.add_state();
    for (size_t i = 0; i < branches.size(); ++i) {
      const SchemaSource branch{.value = &branches[i], .path = child_path(choice.path, std::to_string(i))};
      nfa_.add_empty(append_schemas(from, {branch}), after);
    }
    return after;
  }

  // Each choice is merged with what stands beside it.
  State append_facets(State from, SchemaFacets facets) {
    const State after = nfa_.add_state();
    if (facets.choices.empty()) {
      append_merged(from, facets, after);
      return after;
    }
    const SchemaSource choice = std::move(facets.choices.back());
    facets.choices.pop_back();
    const json::array& branches = choice.value->get_array();
    for (size_t i = 0; i < branches.size(); ++i) {
      SchemaFacets merged = facets;
      reader_.read({.value = &branches[i], .path = child_path(choice.path, std::to_string(i))}, merged);
      nfa_.add_empty(append_facets(from, std::move(merged)), after);
    }
    return after;
  }

  void append_merged(State from, const SchemaFacets& facets, State after) {
    if (facets.allows_nothing) return;
    if (facets.values) return append_values(from, facets, after);
    const uint8_t types = facets.possible_types();
    if (types == Types::kAll && facets.limited_types == 0) return nfa_.add_empty(any_.append_value(from), after);
    const auto has = [&](uint8_t type) { return (types & type) != 0; };
    if (has(Types::kNull)) nfa_.add_empty(nfa_.append_bytes(from, "null"), after);
    if (has(Types::kBoolean)) {
      for (const std::string_view word : {"true", "false"}) nfa_.add_empty(nfa_.append_bytes(from, word), after);
    }
    if (has(Types::kNumber)) append_number(from, facets, types, after);
    if (has(Types::kString)) nfa_.add_empty(append_string(from, facets), after);
    if (has(Types::kArray)) nfa_.add_empty(append_array(from, facets), after);
    if (has(Types::kObject)) nfa_.add_empty(append_object(from, facets), after);
  }

  void append_values(State from, const SchemaFacets& facets, State after) {
    if (facets.limited_types != 0) {
      throw GrammarError(facets.limits_path, "beside enum or const is not supported");
    }
    for (const json::value* const value : *facets.values) {
      if ((type_of(*value) & facets.types) != 0) nfa_.add_empty(append_literal(nfa_, from, *value), after);
    }
  }

  void append_number(State from, const SchemaFacets& facets, uint8_t types, State after) {
    const NumberRange& range = facets.numbers;
    if (range.min && range.max && is_less(range.max->value, range.min->value)) return;
    const bool has_fractions = (types & Types::kFraction) != 0;
    if (!has_fractions) {
      nfa_.add_empty(append_integer_range(nfa_, from, range), after);
    } else if (range.min || range.max) {
      nfa_.add_empty(append_number_range(nfa_, from, range), after);
    } else {
      nfa_.add_empty(grammar::append_number(nfa_, from), after);
    }
  }

  State append_string(State from, const SchemaFacets& facets) {
    std::vector<Expression> all;  // must match
    if (facets.length_min > 0 || facets.length_max) {
      const uint32_t max = facets.length_max.value_or(Expression::kUnbounded);
      if (max < facets.length_min) return nfa_.add_state();  // nothing leads there
      all.push_back(Expression::repeat(Expression::character(CodePoints::all()), facets.length_min, max));
    }
    for (const SchemaSource& pattern : facets.patterns) {
      all.push_back(parse(pattern, pattern.value->get_string(), Match::kSomewhere));
    }
    for (const SchemaSource& format : facets.formats) {
      const std::string pattern = pattern_of_format(format.value->get_string());
      if (pattern.empty()) {
        throw GrammarError(format.path, fmt::format("must be one of {}", fmt::join(format_names(), ", ")));
      }
      all.push_back(parse(format, pattern, Match::kWhole));
    }
    if (all.empty()) return grammar::append_string(nfa_, from);
    const State begin = nfa_.append_bytes(from, "\"");
    return nfa_.append_bytes(append_all_of(begin, all), "\"");
  }

  Expression parse(const SchemaSource& source, std::string_view pattern, Match match) const {
    try {
      return parse_pattern(pattern, match, nfa_.limits());
    } catch (const GrammarError& error) {
      throw GrammarError(source.path, error.what());
    }
  }

  // What all the expressions match.
  State append_all_of(State from, const std::vector<Expression>& all) {
    if (all.size() == 1) return grammar::append(nfa_, from, all[0], Writing::kJsonString);
    std::optional<Automaton> common = automaton_of(all[0]);
    for (size_t i = 1; i < all.size() && common; ++i) {
      const std::optional<Automaton> next = automaton_of(all[i]);
      if (!next) return nfa_.add_state();
      if (i + 1 == all.size()) return append_combination(nfa_, from, *common, *next, Combination::kBoth);
      Nfa merged(nfa_.budget());
      merged.end_rule(0, append_combination(merged, merged.first_of(0), *common, *next, Combination::kBoth));
      common = automaton_unless_empty(merged);
    }
    return nfa_.add_state();  // nothing leads there
  }

  std::optional<Automaton> automaton_of(const Expression& expression) const {
    Nfa nfa(nfa_.budget());
    nfa.end_rule(0, grammar::append(nfa, nfa.first_of(0), expression, Writing::kJsonString));
    return automaton_unless_empty(nfa);
  }

  State append_array(State from, const SchemaFacets& facets) {
    size_t prefix = 0;
    bool says_more = facets.arrays.empty();  // of items beyond the prefix
    for (const ArrayPart& part : facets.arrays) {
      if (part.prefix != nullptr) prefix = std::max(prefix, part.prefix->size());
      says_more = says_more || part.items.has_value();
    }
    const size_t min = facets.items_min;
    std::optional<size_t> max = facets.items_max;
    if (!says_more && prefix > 0) max = std::min(max.value_or(SIZE_MAX), std::max(prefix, min));
    // So many are written one by one; without a maximum the rest is a loop of one item or more.
    const size_t apart = max ? *max : std::max(prefix, min == 0 ? 0 : min - 1);

    const State begin = nfa_.append_bytes(from, "[");
    const State end = nfa_.add_state();  // after the last item
    State after = begin;
    const auto next_item = [&](size_t i) { return append_blank(nfa_, i == 0 ? begin : nfa_.append_bytes(after, ",")); };
    for (size_t i = 0; i < apart; ++i) {
      after = append_item(next_item(i), facets, i, apart > 2);
      if (i + 1 >= min) nfa_.add_empty(after, end);
    }
    if (!max) {
      const State item = next_item(apart);
      after = append_item(item, facets, apart, apart > 2);
      nfa_.add_empty(append_blank(nfa_, nfa_.append_bytes(after, ",")), item);
      nfa_.add_empty(after, end);
    }
    const State close = append_blank(nfa_, end);
    if (min == 0) nfa_.add_empty(begin, close);
    return nfa_.append_bytes(close, "]");
  }

  State append_item(State from, const SchemaFacets& facets, size_t index, bool is_repeated) {
    Schemas schemas;
    bool in_prefix = false;
    for (const ArrayPart& part : facets.arrays) {
      if (part.prefix != nullptr && index < part.prefix->size()) {
        const std::string path = child_path(child_path(part.path, "prefixItems"), std::to_string(index));
        schemas.push_back({.value = &(*part.prefix)[index], .path = path});
        in_prefix = true;
      } else if (part.items) {
        schemas.push_back(*part.items);
      }
    }
    const bool as_rule = is_repeated && !in_prefix && !schemas.empty() && !is_small(schemas);
    return as_rule ? append_rule(from, schemas) : append_value(from, schemas);
  }

  struct Property {
    std::string_view name;
    Schemas schemas;
    bool is_required = false;
  };

  State append_object(State from, const SchemaFacets& facets) {
    const std::vector<Property> properties = properties_of(facets);
    const State begin = nfa_.append_bytes(from, "{");
    const State end = nfa_.add_state();
    // choose[i]: before a key, of properties i and later ones. after[i]: after a value, when those may follow.
    std::vector<State> choose;
    std::vector<State> after;
    for (size_t i = 0; i <= properties.size(); ++i) {
      choose.push_back(nfa_.add_state());
      after.push_back(nfa_.add_state());
    }
    nfa_.add_empty(append_blank(nfa_, begin), choose[0]);
    bool may_end = true;
    for (size_t i = properties.size() + 1; i-- > 0;) {
      if (i < properties.size()) {
        const Property& property = properties[i];
        const State value = append_colon(nfa_, nfa_.append_bytes(choose[i], json_string(property.name)));
        nfa_.add_empty(append_value(value, property.schemas), after[i + 1]);
        if (!property.is_required) nfa_.add_empty(choose[i], choose[i + 1]);
        may_end = may_end && !property.is_required;
      } else {
        append_additional(choose[i], facets, properties, after[i]);
      }
      nfa_.add_empty(append_blank(nfa_, nfa_.append_bytes(after[i], ",")), choose[i]);
      if (may_end) nfa_.add_empty(after[i], end);
    }
    const State close = append_blank(nfa_, end);
    if (may_end) nfa_.add_empty(begin, close);
    return nfa_.append_bytes(close, "}");
  }

  State append_value(State from, const Schemas& schemas) {
    const bool is_forbidden = std::ranges::any_of(schemas, [](const auto& schema) { return is_false(*schema.value); });
    if (is_forbidden) return nfa_.add_state();  // nothing leads there
    return schemas.empty() ? any_.append_value(from) : append_schemas(from, schemas);
  }

  static std::vector<Property> properties_of(const SchemaFacets& facets) {
    std::vector<std::string_view> names;
    std::map<std::string_view, bool> known;
    const auto add = [&](std::string_view name) {
      if (known.try_emplace(name, false).second) names.push_back(name);
    };
    for (const ObjectPart& part : facets.objects) {
      if (part.properties == nullptr) continue;
      for (const auto& member : *part.properties) add(member.key());
    }
    for (const std::string_view name : facets.required) {
      add(name);
      known[name] = true;
    }
    std::vector<Property> properties;
    for (const std::string_view name : names) {
      properties.push_back({.name = name, .schemas = schemas_of(name, facets), .is_required = known[name]});
    }
    return properties;
  }

  static Schemas schemas_of(std::string_view name, const SchemaFacets& facets) {
    Schemas schemas;
    for (const ObjectPart& part : facets.objects) {
      const json::value* const value = part.properties == nullptr ? nullptr : part.properties->if_contains(name);
      if (value != nullptr) {
        schemas.push_back({.value = value, .path = child_path(child_path(part.path, "properties"), name)});
      } else if (part.additional) {
        schemas.push_back(*part.additional);
      }
    }
    return schemas;
  }

  // A property that is none of those listed, if there may be such.
  void append_additional(State from, const SchemaFacets& facets, const std::vector<Property>& properties, State after) {
    Schemas schemas;
    bool lists_properties = false;
    for (const ObjectPart& part : facets.objects) {
      lists_properties = lists_properties || part.properties != nullptr;
      if (part.additional) schemas.push_back(*part.additional);
    }
    const bool is_forbidden = std::ranges::any_of(schemas, [](const auto& schema) { return is_false(*schema.value); });
    if (is_forbidden || (schemas.empty() && lists_properties)) return;
    const State key = properties.empty() ? append_plain_string(nfa_, from) : append_other_key(from, properties);
    nfa_.add_empty(append_value(append_colon(nfa_, key), schemas), after);
  }

  State append_other_key(State from, const std::vector<Property>& properties) {
    Nfa all(nfa_.budget());
    all.end_rule(0, append_plain_string(all, all.first_of(0)));
    Nfa listed(nfa_.budget());
    for (const Property& property : properties) {
      listed.end_rule(0, listed.append_bytes(listed.first_of(0), json_string(property.name)));
    }
    return append_combination(nfa_, from, Automaton(all), Automaton(listed), Combination::kFirstOnly);
  }

  Nfa& nfa_;
  const json::value& document_;
  AnyJson& any_;
  const SchemaReader reader_;
  const json::value object_ = {{"type", "object"}};
  std::map<std::vector<const json::value*>, Rule> rules_;
  std::vector<std::pair<Rule, Schemas>> wanted_;  // rules that have no body yet
  size_t depth_ = 0;                              // of nested schemas, within the rule that is being written
};

}  // namespace

State append_json_schema(Nfa& nfa, State from, const json::value& schema, AnyJson& any, bool objects_only) {
  return SchemaWriter(nfa, schema, any).append(from, objects_only);
}

}  // namespace bellwether::text::grammar
