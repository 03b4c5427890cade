#include "text/grammar/schema_facets.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "text/grammar/grammar_error.h"
#include "text/tokenizer.h"

namespace bellwether::text::grammar {

namespace json = boost::json;

namespace {

constexpr size_t kShownMax = 64;

[[noreturn]] void refuse(const std::string& path, const std::string& complaint) {
  throw GrammarError(path, complaint);
}

uint8_t type_named(std::string_view name, const std::string& path) {
  if (name == "null") return Types::kNull;
  if (name == "boolean") return Types::kBoolean;
  if (name == "integer") return Types::kInteger;
  if (name == "number") return Types::kNumber;
  if (name == "string") return Types::kString;
  if (name == "array") return Types::kArray;
  if (name == "object") return Types::kObject;
  refuse(path, "must be one of null, boolean, integer, number, string, array and object");
}

std::string_view text_of(const json::value& value, const std::string& path) {
  if (!value.is_string()) refuse(path, "must be a string");
  return value.get_string();
}

const json::array& array_of(const SchemaSource& member) {
  if (!member.value->is_array()) refuse(member.path, "must be an array");
  return member.value->get_array();
}

uint8_t types_of(const SchemaSource& member) {
  if (member.value->is_string()) return type_named(member.value->get_string(), member.path);
  if (!member.value->is_array()) refuse(member.path, "must be a type or an array of types");
  uint8_t types = 0;
  for (const json::value& each : member.value->get_array())
    types |= type_named(text_of(each, member.path), member.path);
  return types;
}

void limit_values(std::vector<const json::value*> values, const std::string& path, SchemaFacets& facets) {
  facets.values_path = path;
  if (facets.values) {
    std::erase_if(values, [&](const json::value* value) {
      return std::ranges::none_of(*facets.values, [&](const json::value* other) { return *other == *value; });
    });
  }
  facets.values = std::move(values);
}

void limit(uint8_t types, const SchemaSource& member, SchemaFacets& facets) {
  facets.limited_types |= types;
  facets.limits_path = member.path;
}

void tighten(std::optional<Bound>& bound, Bound other, bool is_min) {
  if (!bound || (is_min ? is_less(bound->value, other.value) : is_less(other.value, bound->value))) {
    bound = std::move(other);
  } else if (bound->value == other.value) {
    bound->is_exclusive = bound->is_exclusive || other.is_exclusive;
  }
}

void tighten_max(std::optional<uint32_t>& max, uint32_t other) {
  max = std::min(max.value_or(other), other);
}

// What the member's schema has said so far.
template <typename Part>
Part& part_of(std::vector<Part>& parts, const SchemaSource& member) {
  std::string schema = member.path.substr(0, member.path.rfind('/'));
  const auto known = std::ranges::find(parts, schema, &Part::path);
  if (known != parts.end()) return *known;
  parts.push_back({.path = std::move(schema)});
  return parts.back();
}

std::string without_percents(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto hex = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
    const bool is_escape = text[i] == '%' && i + 2 < text.size() && std::isxdigit(static_cast<uint8_t>(text[i + 1])) &&
                           std::isxdigit(static_cast<uint8_t>(text[i + 2]));
    if (is_escape) {
      plain += static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
      i += 2;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

}  // namespace

std::string child_path(const std::string& path, std::string_view key) {
  std::string child = path + '/';
  for (const char c : key) {
    if (c == '~') {
      child += "~0";
    } else if (c == '/') {
      child += "~1";
    } else {
      child += c;
    }
  }
  return child;
}

bool is_annotation(std::string_view keyword) {
  constexpr std::string_view kAnnotations[] = {"$schema",       "$id",
                                               "$comment",      "$defs",
                                               "definitions",   "title",
                                               "description",   "default",
                                               "deprecated",    "examples",
                                               "example",       "readOnly",
                                               "writeOnly",     "contentEncoding",
                                               "discriminator", "contentMediaType",
                                               "contentSchema"};
  return keyword.starts_with("x-") || std::ranges::find(kAnnotations, keyword) != std::end(kAnnotations);
}

uint8_t SchemaFacets::possible_types() const {
  if (allows_nothing) return 0;
  if (!names_types && limited_types != 0) return limited_types;
  return types;
}

SchemaSource SchemaReader::resolve(const json::value& reference, const std::string& path) const {
  const std::string_view text = text_of(reference, path);
  if (!text.starts_with('#')) refuse(path, "must point into this schema, as \"#/$defs/name\"");
  const std::string pointer = without_percents(text.substr(1));
  if (!pointer.empty() && !pointer.starts_with('/')) refuse(path, "must be a JSON pointer, as \"#/$defs/name\"");
  boost::system::error_code error;
  const json::value* const target = document_.find_pointer(pointer, error);
  if (target == nullptr) refuse(path, fmt::format("there is no \"{}\" in this schema", utf8_prefix(text, kShownMax)));
  return {.value = target, .path = pointer};
}

void SchemaReader::read(const SchemaSource& schema, SchemaFacets& facets, size_t depth) const {
  budget_.spend_schema();
  const size_t depth_max = budget_.limits().depth_max;
  if (depth > depth_max)
    refuse(schema.path, fmt::format("refers to more than {} schemas in a row, or to itself", depth_max));
  if (schema.value->is_bool()) {
    facets.allows_nothing = facets.allows_nothing || !schema.value->get_bool();
    return;
  }
  if (!schema.value->is_object()) refuse(schema.path, "must be a schema: an object, true or false");
  for (const auto& member : schema.value->get_object()) {
    const std::string_view key = member.key();
    if (is_annotation(key)) continue;
    read_member(key, {.value = &member.value(), .path = child_path(schema.path, key)}, facets, depth);
  }
}

void SchemaReader::read_member(std::string_view key, const SchemaSource& member, SchemaFacets& facets,
                               size_t depth) const {
  const bool is_known = read_composition(key, member, facets, depth) || read_number_limit(key, member, facets) ||
                        read_string_limit(key, member, facets) || read_array_limit(key, member, facets) ||
                        read_object_limit(key, member, facets);
  if (!is_known) refuse(member.path, "is not supported");
}

bool SchemaReader::read_composition(std::string_view key, const SchemaSource& member, SchemaFacets& facets,
                                    size_t depth) const {
  if (key == "type") {
    facets.types &= types_of(member);
    facets.names_types = true;
  } else if (key == "enum") {
    std::vector<const json::value*> values;
    for (const json::value& value : array_of(member)) values.push_back(&value);
    limit_values(std::move(values), member.path, facets);
  } else if (key == "const") {
    limit_values({member.value}, member.path, facets);
  } else if (key == "$ref") {
    read(resolve(*member.value, member.path), facets, depth + 1);
  } else if (key == "allOf") {
    const json::array& schemas = array_of(member);
    for (size_t i = 0; i < schemas.size(); ++i) {
      read({.value = &schemas[i], .path = child_path(member.path, std::to_string(i))}, facets, depth + 1);
    }
  } else if (key == "anyOf" || key == "oneOf") {
    if (array_of(member).empty()) refuse(member.path, "must not be empty");
    facets.choices.push_back(member);
  } else {
    return false;
  }
  return true;
}

bool SchemaReader::read_number_limit(std::string_view key, const SchemaSource& member, SchemaFacets& facets) const {
  const bool is_min = key == "minimum" || key == "exclusiveMinimum";
  const bool is_max = key == "maximum" || key == "exclusiveMaximum";
  if (!is_min && !is_max) return false;
  auto value = Decimal::of(*member.value);
  if (!value) refuse(member.path, "must be a number");
  limit(Types::kNumber, member, facets);
  tighten(is_min ? facets.numbers.min : facets.numbers.max,
          {.value = *std::move(value), .is_exclusive = key.starts_with("exclusive")}, is_min);
  return true;
}

bool SchemaReader::read_string_limit(std::string_view key, const SchemaSource& member, SchemaFacets& facets) const {
  if (key == "minLength") {
    facets.length_min = std::max(facets.length_min, count(member));
  } else if (key == "maxLength") {
    tighten_max(facets.length_max, count(member));
  } else if (key == "pattern") {
    (void)text_of(*member.value, member.path);
    facets.patterns.push_back(member);
  } else if (key == "format") {
    (void)text_of(*member.value, member.path);
    facets.formats.push_back(member);
  } else {
    return false;
  }
  limit(Types::kString, member, facets);
  return true;
}

bool SchemaReader::read_array_limit(std::string_view key, const SchemaSource& member, SchemaFacets& facets) const {
  if (key == "minItems") {
    facets.items_min = std::max(facets.items_min, count(member));
  } else if (key == "maxItems") {
    tighten_max(facets.items_max, count(member));
  } else if (key == "prefixItems") {
    part_of(facets.arrays, member).prefix = &array_of(member);
  } else if (key == "items") {
    if (member.value->is_array()) refuse(member.path, "is not supported as an array; write prefixItems");
    part_of(facets.arrays, member).items = member;
  } else if (key == "uniqueItems" && *member.value == json::value(false)) {
    return true;
  } else {
    return false;
  }
  limit(Types::kArray, member, facets);
  return true;
}

bool SchemaReader::read_object_limit(std::string_view key, const SchemaSource& member, SchemaFacets& facets) const {
  if (key == "properties") {
    if (!member.value->is_object()) refuse(member.path, "must be an object");
    part_of(facets.objects, member).properties = &member.value->get_object();
  } else if (key == "additionalProperties") {
    part_of(facets.objects, member).additional = member;
  } else if (key == "required") {
    for (const json::value& name : array_of(member)) {
      const std::string_view text = text_of(name, member.path);
      if (std::ranges::find(facets.required, text) == facets.required.end()) facets.required.push_back(text);
    }
  } else if (key == "minProperties" && *member.value == json::value(0)) {
    return true;
  } else {
    return false;
  }
  limit(Types::kObject, member, facets);
  return true;
}

uint32_t SchemaReader::count(const SchemaSource& member) const {
  const auto value = Decimal::of(*member.value);
  if (!value || value->is_negative || !value->fraction.empty()) refuse(member.path, "must be a count, 0 or more");
  const size_t max = budget_.limits().repeats_max;
  const bool is_small = value->whole.size() < 10 && std::stoul(value->whole) <= max;
  if (!is_small) refuse(member.path, fmt::format("is more than {}, the most that is supported", max));
  return static_cast<uint32_t>(std::stoul(value->whole));
}

}  // namespace bellwether::text::grammar
