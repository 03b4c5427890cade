// Bodies of requests: whatever comes, it is taken or refused with a typed error.
#include <cstddef>
#include <cstdint>
#include <string>

#include "api-gateway/chat_request.h"
#include "api-gateway/completion_request.h"
#include "api-gateway/messages_request.h"
#include "api-gateway/responses_request.h"
#include "api-gateway/tokenize_request.h"
#include "mesh/error.h"

namespace {

using namespace bellwether::gateway;

constexpr RequestLimits kLimits{.messages_max = 64, .prompts_max = 64, .prompt_tokens_max = 4096, .choices_max = 128};

template <class Parse>
void take_or_refuse(Parse parse) {
  try {
    (void)parse();
  } catch (const bellwether::mesh::Error&) {
  }
}

void parse_all(const std::string& body) {
  take_or_refuse([&] { return parse_chat_request(body, kLimits); });
  take_or_refuse([&] { return parse_completion_request(body, kLimits); });
  take_or_refuse([&] { return parse_responses_request(body, kLimits); });
  take_or_refuse([&] { return parse_messages_request(body, kLimits); });
  take_or_refuse([&] { return parse_tokenize_request(body, kLimits); });
  take_or_refuse([&] { return parse_detokenize_request(body, kLimits); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  parse_all(input);
  // The fuzzer would hardly find the way past the fields that every request must have.
  parse_all(R"({"model":"m","max_tokens":9,"messages":)" + input + "}");
  parse_all(R"({"model":"m","prompt":)" + input + "}");
  parse_all(R"({"model":"m","input":)" + input + "}");
  parse_all(
      R"({"model":"m","prompt":"x","input":"x","tokens":[1],"max_tokens":9,"messages":[{"role":"user","content":"x"}],)" +
      input + "}");
  return 0;
}
