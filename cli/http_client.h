// The client's side of HTTP for the commands, over libcurl.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace bellwether::cli {

struct HttpReply {
  long status = 0;
  std::string body;
};

// Waits for the whole reply. Throws mesh::Error{kUnavailable} naming the URL when there is none within `timeout`, or
// when its body is larger than 16 MiB. `api_key` is sent as a bearer token unless it is empty. Thread-safe.
[[nodiscard]] HttpReply http_get(const std::string& url, const std::string& api_key, std::chrono::milliseconds timeout);

struct HttpStreamRequest {
  std::string url;
  std::string api_key;
  std::string json_body;
  // Called with each piece of a 200's body as it arrives; false ends the transfer. Must not throw.
  std::function<bool(std::string_view)> on_bytes;
  int stop_descriptor = -1;  // the transfer is dropped when this becomes readable; -1 = never
};

struct HttpStreamEnd {
  long status = 0;
  std::string error_body;  // the body of any other status than 200, at most 64 KiB of it
  bool stopped = false;    // by stop_descriptor or on_bytes
};

// Posts and streams the reply. No limit on the time of a stream that advances; one that sends nothing for 10 minutes is
// given up. Throws mesh::Error{kUnavailable} when the connection fails or breaks.
[[nodiscard]] HttpStreamEnd http_post_stream(const HttpStreamRequest& request);

}  // namespace bellwether::cli
