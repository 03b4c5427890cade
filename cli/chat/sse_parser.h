// Server-sent events out of a stream of bytes (the WHATWG "event stream" format), as far as OpenAI's streams use it.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace bellwether::cli {

class SseParser {
 public:
  // One event may not be larger: a server that sends more is broken.
  static constexpr size_t kEventBytesMax = 4 * 1024 * 1024;

  // `on_data` gets the data of each event, its lines joined by line feeds. Comments and other fields are passed over,
  // and so is an event without data.
  explicit SseParser(std::function<void(std::string_view)> on_data);

  // Bytes may be cut anywhere, in the middle of a line end too. False once a limit was passed; the rest is ignored
  // then.
  bool push(std::string_view bytes);

 private:
  void end_line();
  void take_field(std::string_view line);

  std::function<void(std::string_view)> on_data_;
  std::string line_;
  std::string data_;
  bool has_data_ = false;
  bool after_carriage_return_ = false;  // a line feed now belongs to the line end that has been seen
  bool at_start_ = true;                // a byte order mark may come
  bool broken_ = false;
};

}  // namespace bellwether::cli
