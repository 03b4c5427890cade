// The text of HTTP/1.1 as this server writes it, and the parts of a request line that Beast leaves as they came.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "mesh/http_server.h"

namespace bellwether::mesh::http_wire {

// "%41" -> "A". nullopt when a '%' is not followed by two hexadecimal digits.
[[nodiscard]] std::optional<std::string> percent_decode(std::string_view text);

enum class Framing {
  kLength,   // Content-Length of the body
  kChunked,  // HTTP/1.1 streams
  kClose,    // HTTP/1.0 streams: the body ends with the connection
};

// What stands in a response's head beside the response itself.
struct HeadOptions {
  bool http_1_0 = false;  // the client speaks HTTP/1.0
  bool keep_alive = true;
  Framing framing = Framing::kLength;
};

// Status line and header lines with the empty line behind them. Throws Error{kInternal} for a header that would break
// the message: a name that is no token, or a value with a control character in it.
[[nodiscard]] std::string render_head(const HttpResponse& response, const HeadOptions& options);

// True for the statuses that have no body: 1xx, 204, 304.
[[nodiscard]] bool bodiless(unsigned status);

}  // namespace bellwether::mesh::http_wire
