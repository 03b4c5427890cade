// One event of a streamed chat completion.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bellwether::cli {

struct ReplyEvent {
  std::string reasoning;
  std::string content;
  std::string finish_reason;                 // empty until the last piece of text
  std::optional<int64_t> completion_tokens;  // of the event with the usage
  std::string error;                         // the server's message; empty = none
  bool done = false;                         // "[DONE]"
};

// Reads an event's data. What is no such event becomes an error, so that nothing is lost silently.
[[nodiscard]] ReplyEvent parse_reply_event(std::string_view data);

// The message of an error body in OpenAI's shape, or the start of the body when it has another shape, or a sentence
// about the status when it is empty.
[[nodiscard]] std::string error_message(long status, std::string_view body);

// The ids of a reply of GET /v1/models, first one first; empty when it is no such reply.
[[nodiscard]] std::vector<std::string> model_ids(std::string_view body);

}  // namespace bellwether::cli
