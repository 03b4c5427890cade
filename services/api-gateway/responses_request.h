// The body of POST /v1/responses, OpenAI's newer API.
#pragma once

#include <string_view>

#include <boost/json/object.hpp>

#include "api-gateway/chat_request.h"

namespace bellwether::gateway {

struct ResponsesRequest {
  ChatRequest chat;
  boost::json::object echo;  // what the reply repeats of the request
};

// Nothing is stored: what refers to an earlier response is refused, and `store` is answered with false. Throws
// Error{kInvalidArgument} naming the field at fault.
[[nodiscard]] ResponsesRequest parse_responses_request(std::string_view body, const RequestLimits& limits);

}  // namespace bellwether::gateway
