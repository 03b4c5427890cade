#include "api-gateway/tool_request.h"

#include <fmt/format.h>

#include <algorithm>

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

constexpr size_t kToolsMax = 128;
constexpr size_t kToolNameBytesMax = 64;

bool is_tool_name(std::string_view name) {
  return name.size() <= kToolNameBytesMax && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
                  c == '.';
         });
}

std::vector<json::value> parse_tools(const JsonFields& body) {
  std::vector<json::value> tools;
  const json::array* values = body.array("tools", kToolsMax);
  if (values == nullptr) return tools;
  for (size_t i = 0; i < values->size(); ++i) {
    const JsonFields tool = JsonFields::of((*values)[i], element_path("tools", i));
    if (tool.required_text("type") != "function") refuse_field(tool.path("type"), "must be \"function\"");
    const auto function = tool.object("function");
    if (!function) refuse_field(tool.path("function"), "is required");
    check_function(*function);
    tools.push_back((*values)[i]);
    check_new_name(tools, function->path("name"));
  }
  return tools;
}

ToolChoice parse_choice(const JsonFields& body, bool has_tools) {
  using Kind = ToolChoice::Kind;
  const json::value* choice = body.find("tool_choice");
  if (choice == nullptr) return {.kind = has_tools ? Kind::kAuto : Kind::kNone};
  if (choice->is_string()) {
    const json::string& text = choice->get_string();
    if (text == "none") return {.kind = Kind::kNone};
    if (text == "auto") return {.kind = Kind::kAuto};
    if (text == "required") return {.kind = Kind::kRequired};
  }
  if (!choice->is_object()) {
    refuse_field("tool_choice", "must be \"none\", \"auto\", \"required\" or a function as an object");
  }
  const JsonFields object = JsonFields::of(*choice, "tool_choice");
  if (object.required_text("type") != "function") refuse_field(object.path("type"), "must be \"function\"");
  const auto function = object.object("function");
  if (!function) refuse_field(object.path("function"), "is required");
  return {.kind = Kind::kNamed, .name = std::string(function->required_text("name"))};
}

std::string_view name_of(const json::value& tool) {
  return tool.at("function").at("name").as_string();
}

}  // namespace

void check_function(const JsonFields& function) {
  if (!is_tool_name(function.required_text("name"))) {
    refuse_field(function.path("name"), "must be 1 to 64 letters, digits, '_', '-' and '.'");
  }
  (void)function.text("description");
  (void)function.object("parameters");
  (void)function.boolean("strict");
}

void check_new_name(const std::vector<json::value>& tools, const std::string& path) {
  const bool is_taken = std::any_of(tools.begin(), tools.end() - 1,
                                    [&](const json::value& tool) { return name_of(tool) == name_of(tools.back()); });
  if (is_taken) refuse_field(path, "is the name of an earlier one, too");
}

void check_tool_choice(const ToolUse& use, const std::string& path) {
  using Kind = ToolChoice::Kind;
  if (use.choice.kind == Kind::kNone) return;
  if (use.tools.empty()) refuse_field(path, "is only allowed when `tools` are given");
  if (use.choice.kind == Kind::kNamed && std::none_of(use.tools.begin(), use.tools.end(), [&](const json::value& tool) {
        return name_of(tool) == use.choice.name;
      })) {
    refuse_field(path, "names a function that is not among the `tools`");
  }
}

ToolUse parse_tool_use(const JsonFields& body) {
  ToolUse use;
  use.tools = parse_tools(body);
  use.choice = parse_choice(body, !use.tools.empty());
  use.parallel = body.boolean("parallel_tool_calls").value_or(true);
  check_tool_choice(use, "tool_choice");
  if (use.choice.kind == ToolChoice::Kind::kNone) use.tools.clear();
  return use;
}

}  // namespace bellwether::gateway
