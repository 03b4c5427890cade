#include "text/grammar/schema_validator.h"

#include <algorithm>
#include <cmath>
#include <regex>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

namespace bellwether::text::grammar {

namespace json = boost::json;

namespace {

size_t characters_of(std::string_view utf8) {
  return static_cast<size_t>(
      std::ranges::count_if(utf8, [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

bool has_type(const json::value& value, std::string_view type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_bool();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  if (type == "number") return value.is_number();
  return value.is_number() && std::floor(value.to_number<double>()) == value.to_number<double>();
}

bool is_equal(const json::value& a, const json::value& b) {
  if (a.is_number() && b.is_number()) return a.to_number<double>() == b.to_number<double>();
  return a == b;
}

class Validator {
 public:
  Validator(const json::value& value, const json::object& schema, const json::value& document)
      : value_(value), schema_(schema), document_(document) {}

  [[nodiscard]] bool holds() const {
    return general() && combinations() && numbers() && strings() && arrays() && objects();
  }

 private:
  [[nodiscard]] const json::value* find(std::string_view keyword) const { return schema_.if_contains(keyword); }
  [[nodiscard]] bool valid(const json::value& value, const json::value& schema) const {
    return is_valid(value, schema, document_);
  }

  [[nodiscard]] bool general() const {
    if (const auto* type = find("type")) {
      const bool matches = type->is_string() ? has_type(value_, type->get_string())
                                             : std::ranges::any_of(type->get_array(), [&](const json::value& each) {
                                                 return has_type(value_, each.get_string());
                                               });
      if (!matches) return false;
    }
    if (const auto* values = find("enum")) {
      if (std::ranges::none_of(values->get_array(), [&](const json::value& each) { return is_equal(each, value_); })) {
        return false;
      }
    }
    const auto* constant = find("const");
    return constant == nullptr || is_equal(*constant, value_);
  }

  [[nodiscard]] bool combinations() const {
    const auto validates = [&](const json::value& schema) { return valid(value_, schema); };
    if (const auto* all = find("allOf"); all != nullptr && !std::ranges::all_of(all->get_array(), validates))
      return false;
    for (const char* name : {"anyOf", "oneOf"}) {
      if (const auto* any = find(name); any != nullptr && !std::ranges::any_of(any->get_array(), validates))
        return false;
    }
    const auto* reference = find("$ref");
    if (reference == nullptr) return true;
    boost::system::error_code error;
    return valid(value_, *document_.find_pointer(reference->get_string().subview(1), error));
  }

  [[nodiscard]] bool numbers() const {
    if (!value_.is_number()) return true;
    const double value = value_.to_number<double>();
    const auto bound = [&](const char* name) { return find(name)->to_number<double>(); };
    if (find("minimum") != nullptr && value < bound("minimum")) return false;
    if (find("maximum") != nullptr && value > bound("maximum")) return false;
    if (find("exclusiveMinimum") != nullptr && value <= bound("exclusiveMinimum")) return false;
    return find("exclusiveMaximum") == nullptr || value < bound("exclusiveMaximum");
  }

  [[nodiscard]] bool strings() const {
    if (!value_.is_string()) return true;
    const std::string text(value_.get_string());
    const size_t size = characters_of(text);
    if (const auto* min = find("minLength"); min != nullptr && size < min->to_number<size_t>()) return false;
    if (const auto* max = find("maxLength"); max != nullptr && size > max->to_number<size_t>()) return false;
    const auto* pattern = find("pattern");
    return pattern == nullptr || std::regex_search(text, std::regex(std::string(pattern->get_string())));
  }

  [[nodiscard]] bool arrays() const {
    if (!value_.is_array()) return true;
    const json::array& items = value_.get_array();
    if (const auto* min = find("minItems"); min != nullptr && items.size() < min->to_number<size_t>()) return false;
    if (const auto* max = find("maxItems"); max != nullptr && items.size() > max->to_number<size_t>()) return false;
    const auto* prefix = find("prefixItems");
    const size_t prefixed = prefix == nullptr ? 0 : prefix->get_array().size();
    for (size_t i = 0; i < items.size(); ++i) {
      const json::value* schema = i < prefixed ? &prefix->get_array()[i] : find("items");
      if (schema != nullptr && !valid(items[i], *schema)) return false;
    }
    return true;
  }

  [[nodiscard]] bool objects() const {
    if (!value_.is_object()) return true;
    const json::object& members = value_.get_object();
    if (const auto* required = find("required")) {
      for (const json::value& name : required->get_array()) {
        if (!members.contains(name.get_string())) return false;
      }
    }
    const auto* properties = find("properties");
    for (const auto& member : members) {
      const json::value* schema = properties == nullptr ? nullptr : properties->get_object().if_contains(member.key());
      if (schema == nullptr) schema = find("additionalProperties");
      if (schema != nullptr && !valid(member.value(), *schema)) return false;
    }
    return true;
  }

  const json::value& value_;
  const json::object& schema_;
  const json::value& document_;
};

}  // namespace

bool is_valid(const json::value& value, const json::value& schema, const json::value& document) {
  if (schema.is_bool()) return schema.get_bool();
  return Validator(value, schema.get_object(), document).holds();
}

}  // namespace bellwether::text::grammar
