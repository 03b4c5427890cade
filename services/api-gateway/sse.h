// Server-sent events, as OpenAI's streams use them.
#pragma once

#include <string>
#include <string_view>

namespace bellwether::gateway {

inline constexpr std::string_view kSseDone = "data: [DONE]\n\n";
inline constexpr std::string_view kSseKeepAlive = ": keep-alive\n\n";

// REQUIRES: `json` holds no line feed, which serialized JSON does not.
inline void append_sse_event(std::string& out, std::string_view json) {
  out += "data: ";
  out += json;
  out += "\n\n";
}

}  // namespace bellwether::gateway
