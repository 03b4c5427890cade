#include "api-gateway/responses_input.h"

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

constexpr size_t kPartsMax = 4096;
constexpr size_t kTypeBytesMax = 64;  // repeated in an error

[[noreturn]] void refuse_type(const JsonFields& fields, std::string_view type, std::string_view allowed) {
  refuse_field(fields.path("type"),
               fmt::format("is \"{}\"; only {} are supported", type.size() <= kTypeBytesMax ? type : "...", allowed));
}

void append_line(std::string& text, std::string_view more) {
  if (!text.empty()) text += '\n';
  text += more;
}

std::string_view part_text(const JsonFields& part) {
  const std::string_view type = part.required_text("type");
  const bool is_text = type == "input_text" || type == "output_text" || type == "text" || type == "summary_text" ||
                       type == "reasoning_text";
  if (!is_text && type != "refusal") refuse_type(part, type, "parts of text");
  const char* const member = is_text ? "text" : "refusal";
  const std::optional<std::string_view> text = part.text(member);
  if (!text) refuse_field(part.path(member), "is required");
  return *text;
}

// A text, or parts of text.
std::string parse_text(const JsonFields& item, std::string_view name) {
  const json::value* value = item.find(name);
  if (value == nullptr) return {};
  if (value->is_string()) return std::string(value->get_string());
  const std::string path = item.path(name);
  if (!value->is_array()) refuse_field(path, "must be a string or an array of parts");
  std::string text;
  const json::array& parts = *item.array(name, kPartsMax);
  for (size_t i = 0; i < parts.size(); ++i) {
    append_line(text, part_text(JsonFields::of(parts[i], element_path(path, i))));
  }
  return text;
}

// The message that the assistant is in the middle of.
text::Message& assistant_message(std::vector<text::Message>& messages) {
  if (messages.empty() || messages.back().role != text::Role::kAssistant) {
    messages.push_back({.role = text::Role::kAssistant, .content = {}});
  }
  return messages.back();
}

void parse_message_item(const JsonFields& item, std::vector<text::Message>& messages) {
  const std::string_view role = item.required_text("role");
  if (item.find("content") == nullptr) refuse_field(item.path("content"), "is required");
  std::string content = parse_text(item, "content");
  if (role == "assistant") {
    const bool goes_on = !messages.empty() && messages.back().role == text::Role::kAssistant &&
                         messages.back().content.empty() && messages.back().tool_calls.empty();
    if (!goes_on) messages.push_back({.role = text::Role::kAssistant, .content = {}});
    messages.back().content = std::move(content);
  } else if (role == "user") {
    messages.push_back({.role = text::Role::kUser, .content = std::move(content)});
  } else if (role == "system" || role == "developer") {
    messages.push_back({.role = text::Role::kSystem, .content = std::move(content)});
  } else {
    refuse_field(item.path("role"), "must be one of system, developer, user and assistant");
  }
}

// Its text comes in `content`, or shortened in `summary`.
void parse_reasoning_item(const JsonFields& item, std::vector<text::Message>& messages) {
  std::string reasoning = parse_text(item, "content");
  if (reasoning.empty()) reasoning = parse_text(item, "summary");
  messages.push_back({.role = text::Role::kAssistant, .content = {}, .reasoning = std::move(reasoning)});
}

void parse_call_item(const JsonFields& item, std::vector<text::Message>& messages) {
  text::ToolCall call{.id = std::string(item.required_text("call_id")),
                      .name = std::string(item.required_text("name")),
                      .arguments = std::string(item.required_text("arguments"))};
  assistant_message(messages).tool_calls.push_back(std::move(call));
}

void parse_item(const JsonFields& item, std::vector<text::Message>& messages) {
  // A message may leave its type out.
  const std::string_view type = item.find("type") == nullptr ? "message" : item.required_text("type");
  if (type == "message") {
    parse_message_item(item, messages);
  } else if (type == "reasoning") {
    parse_reasoning_item(item, messages);
  } else if (type == "function_call") {
    parse_call_item(item, messages);
  } else if (type == "function_call_output") {
    const std::string_view call = item.required_text("call_id");
    if (item.find("output") == nullptr) refuse_field(item.path("output"), "is required");
    messages.push_back(
        {.role = text::Role::kTool, .content = parse_text(item, "output"), .tool_call_id = std::string(call)});
  } else {
    refuse_type(item, type, "\"message\", \"reasoning\", \"function_call\" and \"function_call_output\" items");
  }
}

}  // namespace

void parse_responses_input(const JsonFields& body, size_t items_max, std::vector<text::Message>& messages) {
  const json::value* input = body.find("input");
  if (input == nullptr) refuse_field("input", "is required");
  if (input->is_string()) {
    messages.push_back({.role = text::Role::kUser, .content = std::string(body.required_text("input"))});
    return;
  }
  if (!input->is_array()) refuse_field("input", "must be a string or an array of items");
  const json::array& items = *body.array("input", items_max);
  if (items.empty()) refuse_field("input", "must not be empty");
  for (size_t i = 0; i < items.size(); ++i) {
    parse_item(JsonFields::of(items[i], element_path("input", i)), messages);
  }
}

}  // namespace bellwether::gateway
