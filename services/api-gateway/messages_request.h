// The body of POST /v1/messages, Anthropic's API.
#pragma once

#include <string_view>

#include "api-gateway/chat_request.h"

namespace bellwether::gateway {

// As a chat request; a last message of the assistant is carried on. `thinking` of type "disabled" leaves the reasoning
// out of the reply; its budget is a hint, and max_tokens the limit. `counts_only`: of /v1/messages/count_tokens, which
// has no max_tokens. Throws Error{kInvalidArgument} naming the field at fault.
[[nodiscard]] ChatRequest parse_messages_request(std::string_view body, const RequestLimits& limits,
                                                 bool counts_only = false);

}  // namespace bellwether::gateway
