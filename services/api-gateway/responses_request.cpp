#include "api-gateway/responses_request.h"

#include <algorithm>
#include <utility>

#include "api-gateway/responses_input.h"

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

constexpr size_t kToolsMax = 128;
constexpr size_t kIncludesMax = 32;

void refuse_unsupported(const JsonFields& body) {
  // `previous_response_id` and `conversation` name what would have to be stored here.
  for (const char* name : {"previous_response_id", "conversation", "prompt", "context_management", "prompt_logprobs"}) {
    if (body.find(name) != nullptr) refuse_field(name, "is not supported");
  }
  for (const char* name : {"background", "return_token_ids"}) {
    if (body.boolean(name).value_or(false)) refuse_field(name, "other than false is not supported");
  }
  if (body.integer("n", 1, kMaxTokensMax).value_or(1) != 1) refuse_field("n", "other than 1 is not supported");
}

// {"type","name","description","parameters","strict"} as a chat request has it, which chat formats know.
std::vector<json::value> parse_tools(const JsonFields& body) {
  std::vector<json::value> tools;
  const json::array* values = body.array("tools", kToolsMax);
  if (values == nullptr) return tools;
  for (size_t i = 0; i < values->size(); ++i) {
    const JsonFields tool = JsonFields::of((*values)[i], element_path("tools", i));
    if (tool.required_text("type") != "function") refuse_field(tool.path("type"), "must be \"function\"");
    check_function(tool);
    json::object function = (*values)[i].get_object();
    function.erase("type");
    tools.push_back({{"type", "function"}, {"function", std::move(function)}});
    check_new_name(tools, tool.path("name"));
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
    if (text == "auto") return {.kind = has_tools ? Kind::kAuto : Kind::kNone};  // as the SDKs send it without tools
    if (text == "required") return {.kind = Kind::kRequired};
  }
  if (!choice->is_object()) {
    refuse_field("tool_choice", "must be \"none\", \"auto\", \"required\" or a function as an object");
  }
  const JsonFields object = JsonFields::of(*choice, "tool_choice");
  if (object.required_text("type") != "function") refuse_field(object.path("type"), "must be \"function\"");
  return {.kind = Kind::kNamed, .name = std::string(object.required_text("name"))};
}

void parse_tool_use(const JsonFields& body, ChatRequest& request) {
  ToolUse use{.tools = parse_tools(body)};
  use.choice = parse_choice(body, !use.tools.empty());
  use.parallel = body.boolean("parallel_tool_calls").value_or(true);
  check_tool_choice(use, "tool_choice");
  if (use.choice.kind != ToolChoice::Kind::kNone) request.conversation.tools = std::move(use.tools);
  request.tool_choice = std::move(use.choice);
  request.parallel_tool_calls = use.parallel;
}

// Log-probabilities are an extra that `include` asks for. The other extras are of tools that this server does not have,
// or of what it has not hidden.
void parse_logprobs(const JsonFields& body, GenerationParameters& parameters) {
  const int64_t top = body.integer("top_logprobs", 0, kTopLogprobsMax).value_or(0);
  const json::array* includes = body.array("include", kIncludesMax);
  for (size_t i = 0; includes != nullptr && i < includes->size(); ++i) {
    if (!(*includes)[i].is_string()) refuse_field(element_path("include", i), "must be a string");
    if ((*includes)[i].get_string() == "message.output_text.logprobs") parameters.logprobs = true;
  }
  if (parameters.logprobs) parameters.top_logprobs = static_cast<uint32_t>(top);
}

void parse_format(const JsonFields& body, GenerationParameters& parameters) {
  const auto text = body.object("text");
  if (!text) return;
  const auto format = text->object("format");
  if (!format) return;
  std::optional<TextConstraint> constraint = parse_text_format(*format, true);
  if (constraint) set_text_constraint(parameters.text_constraint, *std::move(constraint));
}

void parse_truncation(const JsonFields& body, GenerationParameters& parameters) {
  const std::string_view truncation = body.text("truncation").value_or("disabled");
  if (truncation != "auto" && truncation != "disabled") refuse_field("truncation", "must be \"auto\" or \"disabled\"");
  if (truncation == "auto" && !parameters.truncation) parameters.truncation.emplace();
}

void parse_instructions(const JsonFields& body, text::Conversation& conversation) {
  const auto instructions = body.text("instructions");
  if (!instructions || instructions->empty()) return;
  conversation.messages.push_back({.role = text::Role::kSystem, .content = std::string(*instructions)});
}

json::object make_echo(const JsonFields& body) {
  json::object echo{{"background", false}, {"previous_response_id", nullptr}, {"store", false}};
  const auto repeat = [&](const char* name, json::value otherwise) {
    const json::value* value = body.find(name);
    echo[name] = value == nullptr ? std::move(otherwise) : *value;
  };
  for (const char* name : {"instructions", "max_output_tokens", "max_tool_calls", "prompt_cache_key",
                           "safety_identifier", "temperature", "top_p", "user"}) {
    repeat(name, nullptr);
  }
  repeat("metadata", json::object());
  repeat("parallel_tool_calls", true);
  repeat("reasoning", json::object{{"effort", nullptr}, {"summary", nullptr}});
  repeat("text", json::object{{"format", {{"type", "text"}}}});
  repeat("tool_choice", "auto");
  repeat("tools", json::array());
  repeat("top_logprobs", 0);
  repeat("truncation", "disabled");
  return echo;
}

}  // namespace

ResponsesRequest parse_responses_request(std::string_view text, const RequestLimits& limits) {
  const json::value value = parse_body(text);
  const JsonFields body(value.get_object(), "");
  ResponsesRequest request;
  ChatRequest& chat = request.chat;
  GenerationParameters& parameters = chat.parameters;
  parameters = parse_generation_parameters(body, limits);
  refuse_unsupported(body);
  if (const auto max_tokens = body.integer("max_output_tokens", 1, kMaxTokensMax)) {
    parameters.max_tokens = static_cast<uint32_t>(*max_tokens);
  }
  (void)body.object("metadata");
  parse_logprobs(body, parameters);
  parse_format(body, parameters);
  parse_truncation(body, parameters);
  parse_instructions(body, chat.conversation);
  parse_responses_input(body, limits.messages_max, chat.conversation.messages);
  parse_tool_use(body, chat);
  parse_template_arguments(body, chat.conversation);
  if (const auto reasoning = body.object("reasoning")) {
    if (const auto effort = reasoning->text("effort")) {
      set_reasoning_effort(chat.conversation, *effort, reasoning->path("effort"));
    }
  }
  chat.keeps_reasoning = body.boolean("include_reasoning").value_or(true);
  request.echo = make_echo(body);
  return request;
}

}  // namespace bellwether::gateway
