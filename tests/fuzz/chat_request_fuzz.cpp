// Bodies of requests: whatever comes, it is taken or refused with a typed error.
#include <cstddef>
#include <cstdint>
#include <string>

#include "api-gateway/chat_request.h"
#include "api-gateway/completion_request.h"
#include "mesh/error.h"

namespace {

constexpr bellwether::gateway::RequestLimits kLimits{
    .messages_max = 64, .prompts_max = 64, .prompt_tokens_max = 4096, .choices_max = 128};

void parse(const std::string& body) {
  try {
    (void)bellwether::gateway::parse_chat_request(body, kLimits);
  } catch (const bellwether::mesh::Error&) {
  }
  try {
    (void)bellwether::gateway::parse_completion_request(body, kLimits);
  } catch (const bellwether::mesh::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  parse(input);
  // The fuzzer would hardly find the way past the fields that every request must have.
  parse(R"({"model":"m","messages":)" + input + "}");
  parse(R"({"model":"m","prompt":)" + input + "}");
  parse(R"({"model":"m","prompt":"x","messages":[{"role":"user","content":"x"}],)" + input + "}");
  return 0;
}
