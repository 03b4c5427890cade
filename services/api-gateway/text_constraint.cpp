#include "api-gateway/text_constraint.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include <boost/json/serialize.hpp>

namespace bellwether::gateway {

namespace grammar = text::grammar;
namespace json = boost::json;

namespace {

constexpr size_t kChoicesMax = 4096;
constexpr size_t kSchemaNameBytesMax = 64;
constexpr size_t kTypeShownMax = 64;

bool is_schema_name(std::string_view name) {
  return name.size() <= kSchemaNameBytesMax && std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
         });
}

// {"name", "description", "schema", "strict"}
TextConstraint parse_named_schema(const JsonFields& fields) {
  if (!is_schema_name(fields.required_text("name"))) {
    refuse_field(fields.path("name"), "must be 1 to 64 letters, digits, '_' and '-'");
  }
  (void)fields.text("description");
  (void)fields.boolean("strict");  // the schema is kept to whatever it says
  return parse_schema(fields);
}

// A schema, or its text.
TextConstraint parse_json(const JsonFields& fields, std::string_view name) {
  const json::value& value = *fields.find(name);
  if (!value.is_object() && !value.is_string()) refuse_field(fields.path(name), "must be a JSON schema");
  return {.form = grammar::JsonSchema{value.is_string() ? std::string(value.get_string()) : json::serialize(value)},
          .path = fields.path(name)};
}

TextConstraint parse_regex(const JsonFields& fields, std::string_view name) {
  return {.form = grammar::Regex{std::string(fields.required_text(name))}, .path = fields.path(name)};
}

TextConstraint parse_grammar(const JsonFields& fields, std::string_view name) {
  return {.form = grammar::Ebnf{std::string(fields.required_text(name))}, .path = fields.path(name)};
}

TextConstraint parse_choice(const JsonFields& fields, std::string_view name) {
  grammar::Choice choice;
  const std::string path = fields.path(name);
  const json::array& texts = *fields.array(name, kChoicesMax);
  if (texts.empty()) refuse_field(path, "must not be empty");
  for (size_t i = 0; i < texts.size(); ++i) {
    if (!texts[i].is_string()) refuse_field(element_path(path, i), "must be a string");
    choice.texts.emplace_back(texts[i].get_string());
  }
  return {.form = std::move(choice), .path = path};
}

class TextConstraintParser {
 public:
  explicit TextConstraintParser(const JsonFields& body) : body_(body) {}

  std::optional<TextConstraint> parse() && {
    if (const auto format = body_.object("response_format")) {
      if (auto constraint = parse_text_format(*format, false)) add(*std::move(constraint));
    }
    if (const auto outputs = body_.object("structured_outputs")) parse_structured_outputs(*outputs);
    parse_kinds(body_, "guided_");
    refuse(body_, "guided_whitespace_pattern");
    return std::move(constraint_);
  }

 private:
  void parse_structured_outputs(const JsonFields& outputs) {
    parse_kinds(outputs, "");
    if (outputs.boolean("json_object").value_or(false)) {
      add({.form = grammar::AnyJsonObject{}, .path = outputs.path("json_object")});
    }
    refuse(outputs, "whitespace_pattern");
    refuse(outputs, "structural_tag");
    for (const char* name : {"disable_any_whitespace", "disable_additional_properties"}) {
      if (outputs.boolean(name).value_or(false)) refuse_field(outputs.path(name), "other than false is not supported");
    }
  }

  void parse_kinds(const JsonFields& fields, const std::string& prefix) {
    using Parse = TextConstraint (*)(const JsonFields&, std::string_view);
    constexpr std::pair<const char*, Parse> kKinds[] = {
        {"json", parse_json}, {"regex", parse_regex}, {"choice", parse_choice}, {"grammar", parse_grammar}};
    for (const auto& [kind, parse_kind] : kKinds) {
      const std::string name = prefix + kind;
      if (fields.find(name) != nullptr) add(parse_kind(fields, name));
    }
  }

  static void refuse(const JsonFields& fields, std::string_view name) {
    if (fields.find(name) != nullptr) refuse_field(fields.path(name), "is not supported");
  }

  void add(TextConstraint made) { set_text_constraint(constraint_, std::move(made)); }

  const JsonFields& body_;
  std::optional<TextConstraint> constraint_;
};

}  // namespace

std::optional<TextConstraint> parse_text_format(const JsonFields& format, bool is_flat) {
  const std::string_view type = format.required_text("type");
  if (type == "text") return std::nullopt;
  if (type == "json_object") return TextConstraint{.form = grammar::AnyJsonObject{}, .path = format.path("type")};
  if (type != "json_schema") {
    refuse_field(format.path("type"), fmt::format("is \"{}\"; it must be one of text, json_object and json_schema",
                                                  text::utf8_prefix(type, kTypeShownMax)));
  }
  if (is_flat) return parse_named_schema(format);
  const auto schema = format.object("json_schema");
  if (!schema) refuse_field(format.path("json_schema"), "is required");
  return parse_named_schema(*schema);
}

TextConstraint parse_schema(const JsonFields& fields) {
  const json::value* const schema = fields.find("schema");
  if (schema == nullptr) refuse_field(fields.path("schema"), "is required");
  if (!schema->is_object()) refuse_field(fields.path("schema"), "must be an object");
  return {.form = grammar::JsonSchema{json::serialize(*schema)}, .path = fields.path("schema")};
}

void set_text_constraint(std::optional<TextConstraint>& constraint, TextConstraint made) {
  if (constraint) {
    refuse_field(made.path, fmt::format("is not possible beside `{}`: an answer has one form", constraint->path));
  }
  constraint = std::move(made);
}

std::optional<TextConstraint> parse_text_constraint(const JsonFields& body) {
  return TextConstraintParser(body).parse();
}

}  // namespace bellwether::gateway
