#include "text/grammar/random_schema.h"

#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

namespace bellwether::text::grammar {

namespace json = boost::json;

namespace {

class SchemaMaker {
 public:
  explicit SchemaMaker(std::mt19937_64& random) : random_(random) {}

  json::value document() {
    json::value root = schema(3);
    if (!root.is_object()) return root;
    json::object& object = root.get_object();
    object["$defs"] = {{"node", node()}, {"leaf", schema(1)}};
    object["title"] = "random";
    return root;
  }

 private:
  size_t below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }
  bool chance(size_t one_in) { return below(one_in) == 0; }

  // Refers to itself, and can end.
  json::value node() {
    return {
        {"type", "object"},
        {"properties", {{"value", schema(1)}, {"next", {{"anyOf", {{{"$ref", "#/$defs/node"}}, {{"type", "null"}}}}}}}},
        {"required", {"value"}},
        {"additionalProperties", false}};
  }

  json::value schema(size_t depth) {
    switch (below(depth == 0 ? 6 : 13)) {
      case 0:
        return simple();
      case 1:
        return number("integer");
      case 2:
        return number("number");
      case 3:
        return text();
      case 4:
        return {{"enum", {"a", 1, 2.5, nullptr, true, {{"k", {1, "x\n\"é"}}}, json::array{}}}};
      case 5:
        return chance(2) ? json::value{{"const", "one\\two/\t"}}
                         : json::value{{"type", "string"}, {"enum", {"x", "y", 3}}};
      case 6:
      case 7:
      case 8:
        return object(depth);
      case 9:
        return array(depth);
      case 10:
        return {{chance(2) ? "anyOf" : "oneOf", {schema(depth - 1), schema(depth - 1)}}, {"description", "a choice"}};
      case 11:
        return {{"$ref", chance(2) ? "#/$defs/node" : "#/$defs/leaf"}};
      default:
        return merged(depth);
    }
  }

  json::value simple() {
    switch (below(5)) {
      case 0:
        return {{"type", "boolean"}};
      case 1:
        return {{"type", "null"}};
      case 2:
        return {{"type", {"string", "null", "integer"}}};
      case 3:
        return true;
      default:
        return {{"type", "string"}, {"default", ""}};
    }
  }

  json::value number(const char* type) {
    json::object schema = {{"type", type}};
    const auto bound = [&]() -> json::value {
      const auto whole = static_cast<int64_t>(below(2000)) - 1000;
      if (chance(2)) return whole;
      return static_cast<double>(whole) / 8;
    };
    if (chance(2)) schema[chance(2) ? "minimum" : "exclusiveMinimum"] = bound();
    if (chance(2)) schema[chance(2) ? "maximum" : "exclusiveMaximum"] = bound();
    return schema;
  }

  json::value text() {
    json::object schema = {{"type", "string"}};
    if (chance(2)) schema["minLength"] = below(4);
    if (chance(2)) schema["maxLength"] = 3 + below(12);
    const std::vector<const char*> patterns = {"^[a-z]+$", "\\d", "^a|b$", "[\"\\\\]x", "^\\w{1,5}-\\d{2}$"};
    if (chance(3)) schema["pattern"] = patterns[below(patterns.size())];
    return schema;
  }

  json::value object(size_t depth) {
    json::object schema;
    if (!chance(5)) schema["type"] = "object";
    json::object properties;
    json::array required;
    const std::vector<const char*> names = {"a", "b", "name", "na\"me", "größe", ""};
    for (const char* name : names) {
      if (!chance(3)) continue;
      properties[name] = this->schema(depth - 1);
      if (chance(2)) required.emplace_back(name);
    }
    if (!properties.empty() || chance(2)) schema["properties"] = properties;
    if (chance(4)) required.emplace_back("extra");
    if (!required.empty()) schema["required"] = required;
    if (chance(3)) schema["additionalProperties"] = chance(2) ? json::value(false) : this->schema(depth - 1);
    return schema;
  }

  json::value array(size_t depth) {
    json::object schema = {{"type", "array"}};
    if (!chance(4)) schema["items"] = this->schema(depth - 1);
    if (chance(3)) schema["prefixItems"] = {this->schema(depth - 1), this->schema(depth - 1)};
    if (chance(2)) schema["minItems"] = below(4);
    if (chance(2)) schema["maxItems"] = 3 + below(3);
    return schema;
  }

  json::value merged(size_t depth) {
    json::object schema = {{"allOf", {object(depth), object(depth)}}};
    if (chance(2)) schema["properties"] = {{"own", this->schema(0)}};
    if (chance(3)) schema["anyOf"] = {{{"required", {"a"}}}, {{"required", {"b"}}}};
    return schema;
  }

  std::mt19937_64& random_;
};

}  // namespace

json::value random_schema(std::mt19937_64& random) {
  return SchemaMaker(random).document();
}

}  // namespace bellwether::text::grammar
