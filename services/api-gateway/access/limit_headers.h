// What clients are told about their key's limits, in OpenAI's words.
#pragma once

#include <chrono>
#include <string>

#include "api-gateway/access/key_limits.h"
#include "api-gateway/failure.h"
#include "mesh/http_server.h"

namespace bellwether::gateway {

// x-ratelimit-{limit,remaining,reset}-{requests,tokens}; none of a limit that there is not.
[[nodiscard]] mesh::HttpHeaders limit_headers(const KeyState& state);

// A time as OpenAI writes it: "120ms", "1s", "6m0s", "1h2m3s".
[[nodiscard]] std::string reset_text(std::chrono::nanoseconds time);

// 429, for a request that wanted to reserve so many tokens.
[[nodiscard]] Failure failure_of(const Denial& denial, int64_t tokens);

}  // namespace bellwether::gateway
