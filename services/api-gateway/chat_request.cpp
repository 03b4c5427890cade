#include "api-gateway/chat_request.h"

#include <fmt/format.h>

#include <algorithm>

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

constexpr size_t kContentPartsMax = 4096;
constexpr size_t kPartTypeBytesMax = 64;  // repeated in an error
constexpr size_t kToolsMax = 128;
constexpr size_t kToolCallsMax = 128;
constexpr size_t kToolNameBytesMax = 64;

// Of chat alone; the rest stand in generation_parameters.cpp.
void refuse_unsupported(const JsonFields& body) {
  for (const char* name : {"functions", "function_call", "audio", "web_search_options", "chat_template", "documents",
                           "reasoning_effort", "mm_processor_kwargs", "prompt_logprobs"}) {
    if (body.find(name) != nullptr) refuse_field(name, "is not supported");
  }
  if (const auto kwargs = body.object("chat_template_kwargs")) refuse_field("chat_template_kwargs", "is not supported");
  for (const char* name : {"continue_final_message", "add_special_tokens"}) {
    if (body.boolean(name).value_or(false)) refuse_field(name, "other than false is not supported");
  }
  for (const char* name : {"include_reasoning", "parallel_tool_calls"}) {
    if (!body.boolean(name).value_or(true)) refuse_field(name, "other than true is not supported");
  }
  if (const json::array* modalities = body.array("modalities", 8)) {
    if (*modalities != json::array{"text"}) refuse_field("modalities", "other than [\"text\"] is not supported");
  }
}

text::Role parse_role(const JsonFields& message) {
  const std::string_view role = message.required_text("role");
  if (role == "system" || role == "developer") return text::Role::kSystem;
  if (role == "user") return text::Role::kUser;
  if (role == "assistant") return text::Role::kAssistant;
  if (role == "tool") return text::Role::kTool;
  refuse_field(message.path("role"), "must be one of system, developer, user, assistant and tool");
}

std::string parse_text_parts(const json::array& parts, const std::string& path) {
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i) {
    const JsonFields part = JsonFields::of(parts[i], element_path(path, i));
    const std::string_view type = part.required_text("type");
    if (type != "text") {
      refuse_field(part.path("type"), fmt::format("is \"{}\"; only \"text\" parts are supported",
                                                  type.size() <= kPartTypeBytesMax ? type : "..."));
    }
    const std::optional<std::string_view> piece = part.text("text");
    if (!piece) refuse_field(part.path("text"), "is required");
    if (i > 0) text += '\n';  // as vLLM joins them
    text += *piece;
  }
  return text;
}

std::string parse_content(const JsonFields& message, bool required) {
  const json::value* content = message.find("content");
  if (content == nullptr) {
    if (required) refuse_field(message.path("content"), "is required");
    return {};
  }
  if (content->is_string()) return std::string(content->get_string());
  if (!content->is_array()) refuse_field(message.path("content"), "must be a string or an array of parts");
  return parse_text_parts(*message.array("content", kContentPartsMax), message.path("content"));
}

std::vector<text::ToolCall> parse_tool_calls(const JsonFields& message) {
  std::vector<text::ToolCall> calls;
  const json::array* values = message.array("tool_calls", kToolCallsMax);
  if (values == nullptr) return calls;
  for (size_t i = 0; i < values->size(); ++i) {
    const JsonFields call = JsonFields::of((*values)[i], element_path(message.path("tool_calls"), i));
    if (call.text("type").value_or("function") != "function") refuse_field(call.path("type"), "must be \"function\"");
    const auto function = call.object("function");
    if (!function) refuse_field(call.path("function"), "is required");
    calls.push_back({.id = std::string(call.text("id").value_or("")),
                     .name = std::string(function->required_text("name")),
                     .arguments = std::string(function->text("arguments").value_or("{}"))});
  }
  return calls;
}

text::Message parse_message(const json::value& value, const std::string& path) {
  const JsonFields fields = JsonFields::of(value, path);
  text::Message message;
  message.role = parse_role(fields);
  // Typed like OpenAI's, and of no use to a prompt: earlier reasoning is dropped, and tool outputs stand in order.
  for (const char* name : {"name", "tool_call_id", "reasoning_content", "reasoning"}) (void)fields.text(name);
  if (message.role == text::Role::kAssistant) {
    message.tool_calls = parse_tool_calls(fields);
  } else if (fields.find("tool_calls") != nullptr) {
    refuse_field(fields.path("tool_calls"), "is only allowed in a message of the assistant");
  }
  message.content = parse_content(fields, message.tool_calls.empty());
  return message;
}

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
    if (!is_tool_name(function->required_text("name"))) {
      refuse_field(function->path("name"), "must be 1 to 64 letters, digits, '_', '-' and '.'");
    }
    (void)function->text("description");
    (void)function->object("parameters");
    if (function->boolean("strict").value_or(false)) {
      refuse_field(function->path("strict"), "other than false is not supported");
    }
    tools.push_back((*values)[i]);
  }
  return tools;
}

// True when the model may call tools.
bool parse_tool_choice(const JsonFields& body, bool has_tools) {
  const json::value* choice = body.find("tool_choice");
  if (choice == nullptr) return has_tools;
  if (choice->is_string() && choice->get_string() == "none") return false;
  if (choice->is_string() && choice->get_string() == "auto") {
    if (!has_tools) refuse_field("tool_choice", "is only allowed when `tools` are given");
    return true;
  }
  refuse_field("tool_choice", "other than \"none\" and \"auto\" is not supported");
}

void parse_token_limit(const JsonFields& body, GenerationParameters& parameters) {
  const auto old_name = body.integer("max_tokens", 1, kMaxTokensMax);
  const auto new_name = body.integer("max_completion_tokens", 1, kMaxTokensMax);
  const auto limit = new_name ? new_name : old_name;
  if (limit) parameters.max_tokens = static_cast<uint32_t>(*limit);
}

void parse_logprobs(const JsonFields& body, GenerationParameters& parameters) {
  parameters.logprobs = body.boolean("logprobs").value_or(false);
  const auto top = body.integer("top_logprobs", 0, kTopLogprobsMax);
  if (!top) return;
  if (*top > 0 && !parameters.logprobs) refuse_field("top_logprobs", "is only allowed when `logprobs` is true");
  parameters.top_logprobs = static_cast<uint32_t>(*top);
}

}  // namespace

ChatRequest parse_chat_request(std::string_view text, size_t messages_max) {
  const json::value value = parse_body(text);
  const JsonFields body(value.get_object(), "");
  ChatRequest request;
  request.parameters = parse_generation_parameters(body);
  refuse_unsupported(body);
  parse_token_limit(body, request.parameters);
  parse_logprobs(body, request.parameters);

  const json::array* messages = body.array("messages", messages_max);
  if (messages == nullptr) refuse_field("messages", "is required");
  if (messages->empty()) refuse_field("messages", "must not be empty");
  for (size_t i = 0; i < messages->size(); ++i) {
    request.conversation.messages.push_back(parse_message((*messages)[i], element_path("messages", i)));
  }
  std::vector<json::value> tools = parse_tools(body);
  if (parse_tool_choice(body, !tools.empty())) request.conversation.tools = std::move(tools);
  request.conversation.add_generation_prompt = body.boolean("add_generation_prompt").value_or(true);
  return request;
}

}  // namespace bellwether::gateway
