#include "e2e/sse_reader.h"

#include <stdexcept>

namespace bellwether::e2e {

std::vector<std::string> SseReader::push(std::string_view bytes) {
  buffer_ += bytes;
  std::vector<std::string> events;
  size_t end = 0;
  while ((end = buffer_.find("\n\n")) != std::string::npos) {
    const std::string event = buffer_.substr(0, end);
    buffer_.erase(0, end + 2);
    if (event.starts_with(':')) continue;
    if (!event.starts_with("data: ") || event.find('\n') != std::string::npos) {
      throw std::runtime_error("not an event of one data line: " + event);
    }
    events.push_back(event.substr(6));
  }
  return events;
}

}  // namespace bellwether::e2e
