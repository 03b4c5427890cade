#include "api-gateway/chat_request.h"

#include <fmt/format.h>

#include <algorithm>

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

constexpr size_t kContentPartsMax = 4096;
constexpr size_t kPartTypeBytesMax = 64;  // repeated in an error
constexpr size_t kToolCallsMax = 128;

// Of chat alone; the rest stand in generation_parameters.cpp.
void refuse_unsupported(const JsonFields& body) {
  for (const char* name : {"functions", "function_call", "audio", "web_search_options", "chat_template", "documents",
                           "mm_processor_kwargs"}) {
    if (body.find(name) != nullptr) refuse_field(name, "is not supported");
  }
  for (const char* name : {"echo", "add_special_tokens"}) {
    if (body.boolean(name).value_or(false)) refuse_field(name, "other than false is not supported");
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
  message.name = fields.text("name").value_or("");
  message.tool_call_id = fields.text("tool_call_id").value_or("");
  message.reasoning = fields.text("reasoning").value_or("");
  const std::optional<std::string_view> reasoning = fields.text("reasoning_content");
  if (message.reasoning.empty() && reasoning) message.reasoning = *reasoning;
  if (message.role == text::Role::kAssistant) {
    message.tool_calls = parse_tool_calls(fields);
  } else if (fields.find("tool_calls") != nullptr) {
    refuse_field(fields.path("tool_calls"), "is only allowed in a message of the assistant");
  }
  message.content = parse_content(fields, message.tool_calls.empty());
  return message;
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

void parse_prompt_end(const JsonFields& body, text::Conversation& conversation) {
  const std::optional<bool> adds_prompt = body.boolean("add_generation_prompt");
  conversation.add_generation_prompt = adds_prompt.value_or(true);
  conversation.continue_final_message = body.boolean("continue_final_message").value_or(false);
  if (conversation.continue_final_message && adds_prompt.value_or(false)) {
    refuse_field("continue_final_message", "is only allowed when `add_generation_prompt` is not true");
  }
}

}  // namespace

void parse_template_arguments(const JsonFields& body, text::Conversation& conversation) {
  const json::value* arguments = body.find("chat_template_kwargs");
  if (arguments == nullptr) return;
  if (!arguments->is_object()) refuse_field("chat_template_kwargs", "must be an object");
  for (const auto& argument : arguments->get_object()) {
    conversation.template_arguments.insert_or_assign(argument.key(), argument.value());
  }
}

void set_reasoning_effort(text::Conversation& conversation, std::string_view effort, const std::string& path) {
  constexpr std::string_view kEfforts[] = {"none", "minimal", "low", "medium", "high", "xhigh"};
  if (std::find(std::begin(kEfforts), std::end(kEfforts), effort) == std::end(kEfforts)) {
    refuse_field(path, "must be one of none, minimal, low, medium, high and xhigh");
  }
  json::object& arguments = conversation.template_arguments;
  arguments.emplace("reasoning_effort", effort);
  if (effort != "none") return;
  arguments.emplace("thinking", false);         // DeepSeek's name
  arguments.emplace("enable_thinking", false);  // Qwen's
}

void parse_conversation(const JsonFields& body, const RequestLimits& limits, ChatRequest& request) {
  const json::array* messages = body.array("messages", limits.messages_max);
  if (messages == nullptr) refuse_field("messages", "is required");
  if (messages->empty()) refuse_field("messages", "must not be empty");
  text::Conversation& conversation = request.conversation;
  for (size_t i = 0; i < messages->size(); ++i) {
    conversation.messages.push_back(parse_message((*messages)[i], element_path("messages", i)));
  }
  ToolUse use = parse_tool_use(body);
  conversation.tools = std::move(use.tools);
  request.tool_choice = std::move(use.choice);
  request.parallel_tool_calls = use.parallel;
  parse_prompt_end(body, conversation);
  parse_template_arguments(body, conversation);
  if (const auto effort = body.text("reasoning_effort")) {
    set_reasoning_effort(conversation, *effort, "reasoning_effort");
  }
}

ChatRequest parse_chat_request(std::string_view text, const RequestLimits& limits) {
  const json::value value = parse_body(text);
  const JsonFields body(value.get_object(), "");
  ChatRequest request;
  request.parameters = parse_generation_parameters(body, limits);
  refuse_unsupported(body);
  parse_token_limit(body, request.parameters);
  parse_logprobs(body, request.parameters);
  parse_conversation(body, limits, request);
  request.keeps_reasoning = body.boolean("include_reasoning").value_or(true);
  return request;
}

}  // namespace bellwether::gateway
