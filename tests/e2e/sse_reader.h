// Server-sent events as a strict client reads them: what is not as OpenAI's servers send it is a failure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bellwether::e2e {

class SseReader {
 public:
  // The data of the events that these bytes complete. Throws std::runtime_error for a line that is neither a comment
  // nor "data: ...".
  std::vector<std::string> push(std::string_view bytes);

  // Nothing of an unfinished event is left.
  [[nodiscard]] bool at_event_end() const { return buffer_.empty(); }

 private:
  std::string buffer_;
};

}  // namespace bellwether::e2e
