#include "api-gateway/messages_request.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

#include <boost/json/serialize.hpp>

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

constexpr size_t kBlocksMax = 4096;
constexpr size_t kToolsMax = 128;
constexpr size_t kTypeBytesMax = 64;  // repeated in an error

[[noreturn]] void refuse_type(const JsonFields& block, std::string_view type, std::string_view allowed) {
  refuse_field(block.path("type"), fmt::format("is \"{}\"; only {} are supported here",
                                               type.size() <= kTypeBytesMax ? type : "...", allowed));
}

std::string block_text(const JsonFields& block) {
  const std::optional<std::string_view> text = block.text("text");
  if (!text) refuse_field(block.path("text"), "is required");
  return std::string(*text);
}

void append_line(std::string& text, std::string_view more) {
  if (!text.empty()) text += '\n';
  text += more;
}

// A text, or blocks of text.
std::string parse_text(const JsonFields& parent, std::string_view name) {
  const json::value* value = parent.find(name);
  if (value == nullptr) return {};
  if (value->is_string()) return std::string(value->get_string());
  const std::string path = parent.path(name);
  if (!value->is_array()) refuse_field(path, "must be a string or an array of blocks");
  std::string text;
  const json::array& blocks = *parent.array(name, kBlocksMax);
  for (size_t i = 0; i < blocks.size(); ++i) {
    const JsonFields block = JsonFields::of(blocks[i], element_path(path, i));
    const std::string_view type = block.required_text("type");
    if (type != "text") refuse_type(block, type, "\"text\" blocks");
    append_line(text, block_text(block));
  }
  return text;
}

text::ToolCall parse_tool_use_block(const JsonFields& block) {
  const auto input = block.object("input");
  if (!input) refuse_field(block.path("input"), "is required");
  return {.id = std::string(block.required_text("id")),
          .name = std::string(block.required_text("name")),
          .arguments = json::serialize(*block.find("input"))};
}

void parse_assistant_block(const JsonFields& block, text::Message& message) {
  const std::string_view type = block.required_text("type");
  if (type == "text") {
    append_line(message.content, block_text(block));
  } else if (type == "tool_use") {
    message.tool_calls.push_back(parse_tool_use_block(block));
  } else if (type == "thinking") {
    append_line(message.reasoning, block.text("thinking").value_or(""));
  } else if (type != "redacted_thinking") {
    refuse_type(block, type, "\"text\", \"tool_use\" and \"thinking\" blocks");
  }
}

// A result is a message of its own; the texts between them are the user's.
void parse_user_block(const JsonFields& block, std::vector<text::Message>& messages, size_t first) {
  const std::string_view type = block.required_text("type");
  if (type == "tool_result") {
    const std::string_view call = block.required_text("tool_use_id");
    messages.push_back(
        {.role = text::Role::kTool, .content = parse_text(block, "content"), .tool_call_id = std::string(call)});
    return;
  }
  if (type != "text") refuse_type(block, type, "\"text\" and \"tool_result\" blocks");
  const bool continues = messages.size() > first && messages.back().role == text::Role::kUser;
  if (!continues) messages.push_back({.role = text::Role::kUser, .content = {}});
  append_line(messages.back().content, block_text(block));
}

void parse_message(const json::value& value, const std::string& path, std::vector<text::Message>& messages) {
  const JsonFields fields = JsonFields::of(value, path);
  const std::string_view role = fields.required_text("role");
  if (role != "user" && role != "assistant") refuse_field(fields.path("role"), "must be \"user\" or \"assistant\"");
  const bool is_user = role == "user";
  const json::value* content = fields.find("content");
  if (content == nullptr) refuse_field(fields.path("content"), "is required");
  if (content->is_string()) {
    messages.push_back(
        {.role = is_user ? text::Role::kUser : text::Role::kAssistant, .content = std::string(content->get_string())});
    return;
  }
  if (!content->is_array()) refuse_field(fields.path("content"), "must be a string or an array of blocks");
  const json::array& blocks = *fields.array("content", kBlocksMax);
  if (blocks.empty()) refuse_field(fields.path("content"), "must not be empty");
  const size_t first = messages.size();
  if (!is_user) messages.push_back({.role = text::Role::kAssistant, .content = {}});
  for (size_t i = 0; i < blocks.size(); ++i) {
    const JsonFields block = JsonFields::of(blocks[i], element_path(fields.path("content"), i));
    if (is_user) {
      parse_user_block(block, messages, first);
    } else {
      parse_assistant_block(block, messages.back());
    }
  }
}

void parse_messages(const JsonFields& body, const RequestLimits& limits, text::Conversation& conversation) {
  if (std::string system = parse_text(body, "system"); !system.empty()) {
    conversation.messages.push_back({.role = text::Role::kSystem, .content = std::move(system)});
  }
  const json::array* messages = body.array("messages", limits.messages_max);
  if (messages == nullptr) refuse_field("messages", "is required");
  if (messages->empty()) refuse_field("messages", "must not be empty");
  for (size_t i = 0; i < messages->size(); ++i) {
    parse_message((*messages)[i], element_path("messages", i), conversation.messages);
  }
  conversation.continue_final_message = conversation.messages.back().role == text::Role::kAssistant;
}

// {"name","description","input_schema"} as OpenAI writes it, which chat formats know.
std::vector<json::value> parse_tools(const JsonFields& body) {
  std::vector<json::value> tools;
  const json::array* values = body.array("tools", kToolsMax);
  if (values == nullptr) return tools;
  for (size_t i = 0; i < values->size(); ++i) {
    const JsonFields tool = JsonFields::of((*values)[i], element_path("tools", i));
    const std::string_view type = tool.text("type").value_or("custom");
    if (type != "custom") refuse_type(tool, type, "tools of the client's own");
    check_function(tool);
    if (!tool.object("input_schema")) refuse_field(tool.path("input_schema"), "is required");
    json::object function{{"name", tool.required_text("name")}};
    if (const auto description = tool.text("description")) function["description"] = *description;
    function["parameters"] = *tool.find("input_schema");
    if (tool.boolean("strict").value_or(false)) function["strict"] = true;
    tools.push_back({{"type", "function"}, {"function", std::move(function)}});
    check_new_name(tools, tool.path("name"));
  }
  return tools;
}

void parse_tool_use(const JsonFields& body, ChatRequest& request) {
  using Kind = ToolChoice::Kind;
  ToolUse use{.tools = parse_tools(body)};
  use.choice.kind = use.tools.empty() ? Kind::kNone : Kind::kAuto;
  if (const auto choice = body.object("tool_choice")) {
    const std::string_view type = choice->required_text("type");
    use.parallel = !choice->boolean("disable_parallel_tool_use").value_or(false);
    if (type == "none") {
      use.choice.kind = Kind::kNone;
    } else if (type == "auto") {
      use.choice.kind = Kind::kAuto;
    } else if (type == "any") {
      use.choice.kind = Kind::kRequired;
    } else if (type == "tool") {
      use.choice = {.kind = Kind::kNamed, .name = std::string(choice->required_text("name"))};
    } else {
      refuse_field(choice->path("type"), "must be one of auto, any, tool and none");
    }
  }
  check_tool_choice(use, "tool_choice");
  if (use.choice.kind != Kind::kNone) request.conversation.tools = std::move(use.tools);
  request.tool_parameters_name = "input_schema";
  request.tool_choice = std::move(use.choice);
  request.parallel_tool_calls = use.parallel;
}

void parse_thinking(const JsonFields& body, ChatRequest& request) {
  const auto thinking = body.object("thinking");
  if (!thinking) return;
  const std::string_view type = thinking->required_text("type");
  (void)thinking->integer("budget_tokens", 1, kMaxTokensMax);
  if (type != "enabled" && type != "disabled" && type != "adaptive") {
    refuse_field(thinking->path("type"), "must be one of enabled, adaptive and disabled");
  }
  request.keeps_reasoning = type != "disabled";
  request.conversation.template_arguments["thinking"] = type != "disabled";
}

// `output_config.format`, or `output_format` as it was called first: {"type": "json_schema", "schema"}.
void parse_output(const JsonFields& body, ChatRequest& request) {
  const auto parse_format = [&](const JsonFields& fields, const char* name) {
    const auto format = fields.object(name);
    if (!format) return;
    if (format->required_text("type") != "json_schema") refuse_field(format->path("type"), "must be \"json_schema\"");
    set_text_constraint(request.parameters.text_constraint, parse_schema(*format));
  };
  parse_format(body, "output_format");
  const auto config = body.object("output_config");
  if (!config) return;
  parse_format(*config, "format");
  if (const auto effort = config->text("effort")) {
    set_reasoning_effort(request.conversation, effort == "max" ? "xhigh" : *effort, config->path("effort"));
  }
}

void refuse_unsupported(const JsonFields& body) {
  for (const char* name : {"container", "mcp_servers", "context_management"}) {
    if (body.find(name) != nullptr) refuse_field(name, "is not supported");
  }
}

}  // namespace

ChatRequest parse_messages_request(std::string_view text, const RequestLimits& limits, bool counts_only) {
  const json::value value = parse_body(text);
  const JsonFields body(value.get_object(), "");
  ChatRequest request;
  GenerationParameters& parameters = request.parameters;
  parameters.model = parse_model(body);
  refuse_unsupported(body);
  const auto max_tokens = body.integer("max_tokens", 1, kMaxTokensMax);
  if (!max_tokens && !counts_only) refuse_field("max_tokens", "is required");
  if (max_tokens) parameters.max_tokens = static_cast<uint32_t>(*max_tokens);
  parameters.temperature = body.number("temperature", 0, 1);
  parameters.top_p = body.number("top_p", 0, 1);
  if (parameters.top_p == 0) refuse_field("top_p", "must be larger than 0 and at most 1");
  if (const auto top_k = body.integer("top_k", 0, std::numeric_limits<int32_t>::max())) {
    parameters.top_k = static_cast<uint32_t>(*top_k);
  }
  parameters.stop = parse_stop_strings(body, "stop_sequences");
  parameters.stream = body.boolean("stream").value_or(false);
  (void)body.object("metadata");
  parse_messages(body, limits, request.conversation);
  parse_tool_use(body, request);
  parse_thinking(body, request);
  parse_output(body, request);
  parse_template_arguments(body, request.conversation);
  return request;
}

}  // namespace bellwether::gateway
