// Bodies of requests: whatever comes, it is taken or refused with a typed error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api-gateway/chat_request.h"
#include "api-gateway/completion_request.h"
#include "mesh/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  try {
    (void)bellwether::gateway::parse_chat_request(body, 64);
  } catch (const bellwether::mesh::Error&) {
  }
  try {
    (void)bellwether::gateway::parse_completion_request(body, 4096);
  } catch (const bellwether::mesh::Error&) {
  }
  return 0;
}
