// The body of POST /v1/chat/completions.
#pragma once

#include <string>
#include <string_view>

#include "api-gateway/generation_parameters.h"
#include "api-gateway/tool_request.h"
#include "text/chat_format.h"

namespace bellwether::gateway {

// What every endpoint with a conversation comes to.
struct ChatRequest {
  GenerationParameters parameters;
  text::Conversation conversation;  // with the tools of `tool_choice`, unless it is kNone
  ToolChoice tool_choice = {};
  std::string tool_parameters_name = "function.parameters";  // as the client spells it, below each of the tools
  bool parallel_tool_calls = true;
  bool keeps_reasoning = true;  // in the reply
};

// Throws Error{kInvalidArgument} naming the field at fault.
[[nodiscard]] ChatRequest parse_chat_request(std::string_view body, const RequestLimits& limits);

// The members that say what the prompt is: messages, tools, tool_choice, the template's arguments.
void parse_conversation(const JsonFields& body, const RequestLimits& limits, ChatRequest& request);

// `chat_template_kwargs`. What is there already gives way.
void parse_template_arguments(const JsonFields& body, text::Conversation& conversation);

// "none" asks for no reasoning at all; all are hints, for chat templates that read them. Throws, naming `path`.
void set_reasoning_effort(text::Conversation& conversation, std::string_view effort, const std::string& path);

}  // namespace bellwether::gateway
