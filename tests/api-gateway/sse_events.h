// Server-sent events out of a stream's text.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace bellwether::testing {

struct SseEvent {
  std::string name = {};  // of its "event:" line
  std::string data = {};
};

// Throws for lines that are none of an event. Comments are left out.
inline std::vector<SseEvent> events_of(std::string_view stream) {
  std::vector<SseEvent> events;
  SseEvent event;
  while (!stream.empty()) {
    const size_t end = stream.find('\n');
    if (end == std::string_view::npos) throw std::runtime_error("the stream ends within a line");
    const std::string_view line = stream.substr(0, end);
    stream.remove_prefix(end + 1);
    if (line.starts_with("data: ")) {
      event.data += line.substr(6);
    } else if (line.starts_with("event: ")) {
      event.name = line.substr(7);
    } else if (line.empty()) {
      if (!event.data.empty()) events.push_back(event);
      event = {};
    } else if (!line.starts_with(":")) {
      throw std::runtime_error("not a line of an event: " + std::string(line));
    }
  }
  return events;
}

}  // namespace bellwether::testing
