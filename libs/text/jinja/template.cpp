#include "text/jinja/template.h"

#include <fmt/format.h>

#include <utility>

#include "text/jinja/interpreter.h"
#include "text/jinja/json_text.h"
#include "text/jinja/parser.h"

namespace bellwether::text::jinja {

struct Template::Data {
  Limits limits;
  Statements statements;
};

Template::Template(std::unique_ptr<const Data> data) : data_(std::move(data)) {}
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;
Template::~Template() = default;

Template Template::parse(std::string_view source, const Limits& limits) {
  return Template(std::make_unique<const Data>(Data{.limits = limits, .statements = jinja::parse(source, limits)}));
}

std::string Template::render(const boost::json::object& variables, std::time_t now) const {
  Budget budget(data_->limits);
  Interpreter interpreter(budget, now);
  try {
    std::vector<std::pair<std::string_view, Value>> values;
    for (const auto& variable : variables) values.emplace_back(variable.key(), from_json(variable.value(), budget));
    return interpreter.render(data_->statements, std::move(values));
  } catch (const RenderError& error) {
    throw RenderError(fmt::format("the chat template, line {}: {}", interpreter.line(), error.what()));
  }
}

}  // namespace bellwether::text::jinja
