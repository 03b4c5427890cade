// HTTP as a client sees it, on libcurl. Every call has a hard time limit. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/value.hpp>

namespace bellwether::e2e {

struct Reply {
  long status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;

  [[nodiscard]] boost::json::value json() const;
};

// Both throw std::runtime_error when there is no reply. A header is a line, "Name: value".
[[nodiscard]] Reply http_get(const std::string& url);
[[nodiscard]] Reply http_post(const std::string& url, const std::string& body,
                              const std::vector<std::string>& headers = {});

// A streamed completion, put together again.
struct StreamedReply {
  long status = 0;
  std::string content_type;
  std::string reasoning;
  std::string content;  // or the text of a /v1/completions stream
  std::string calls;    // of tools: a line for each, its name and its arguments
  std::vector<std::string> finish_reasons;
  std::optional<boost::json::value> usage;
  std::string error;  // the body of another status than 200, or of an error event
  bool done = false;  // "[DONE]" came, and was the last
  int text_events = 0;
};

// `on_event` is called with the reply so far after each event with text; false disconnects.
using OnEvent = std::function<bool(const StreamedReply&)>;

[[nodiscard]] StreamedReply http_stream(const std::string& url, const std::string& body, const OnEvent& on_event = {});

}  // namespace bellwether::e2e
