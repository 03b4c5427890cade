// A server's stream as `bellwether chat` reads it: any bytes, cut anywhere, give the same events.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "cli/chat/reply_event.h"
#include "cli/chat/sse_parser.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bellwether::cli;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> whole;
  SseParser parser([&](std::string_view event) { whole.emplace_back(event); });
  parser.push(bytes);
  std::vector<std::string> piecewise;
  SseParser cut_parser([&](std::string_view event) { piecewise.emplace_back(event); });
  for (const char& byte : bytes) cut_parser.push({&byte, 1});
  if (whole != piecewise) std::abort();
  for (const std::string& event : whole) {
    static_cast<void>(parse_reply_event(event));
    static_cast<void>(error_message(500, event));
    static_cast<void>(model_ids(event));
  }
  return 0;
}
