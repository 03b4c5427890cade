// The `input` of POST /v1/responses: a text, or items of a conversation.
#pragma once

#include <vector>

#include "api-gateway/json_fields.h"
#include "text/chat_format.h"

namespace bellwether::gateway {

// Appends the messages that `input` stands for. What the assistant did in a row (its reasoning, its text, its calls) is
// one message. Throws Error{kInvalidArgument} naming the field at fault.
void parse_responses_input(const JsonFields& body, size_t items_max, std::vector<text::Message>& messages);

}  // namespace bellwether::gateway
