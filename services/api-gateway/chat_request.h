// The body of POST /v1/chat/completions.
#pragma once

#include <string_view>

#include "api-gateway/generation_parameters.h"
#include "text/chat_format.h"

namespace bellwether::gateway {

struct ChatRequest {
  GenerationParameters parameters;
  text::Conversation conversation;  // without tools when the client wants none called
};

// Throws Error{kInvalidArgument} naming the field at fault.
[[nodiscard]] ChatRequest parse_chat_request(std::string_view body, size_t messages_max);

}  // namespace bellwether::gateway
