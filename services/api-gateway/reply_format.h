// Replies as JSON: what is said is the same for both endpoints, how it is said is not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api-gateway/logprobs.h"
#include "api-gateway/output_text.h"

namespace bellwether::gateway {

struct ReplyHead {
  std::string id;  // the mesh's request id
  int64_t created_unix_s = 0;
  std::string model;
};

// Without OpenAI's accepted and rejected prediction tokens: those are about text that the client predicted and pays for,
// while drafts are the server's own affair.
struct ReplyUsage {
  uint32_t prompt_tokens = 0;
  uint32_t completion_tokens = 0;
  std::optional<uint32_t> cached_prompt_tokens;  // absent when the head did not get to say
};

enum class ReplyEnd { kStop, kLength, kToolCalls };

// A piece of a choice, or all of it.
struct ReplyPart {
  OutputDelta output = {};
  std::vector<TokenLogprobs> logprobs = {};  // of the tokens it was made of, if asked for
  uint32_t choice = 0;
  std::optional<ReplyEnd> end = {};                 // it was the choice's last
  std::vector<TokenLogprobs> prompt_logprobs = {};  // of the prompt's tokens from the second on, if asked for
};

// One request's. The chunks of a stream are the JSON of one server-sent event each, without "data: ".
class ReplyFormat {
 public:
  virtual ~ReplyFormat() = default;
  [[nodiscard]] virtual std::string first_chunk(uint32_t choice) = 0;  // sent before any token; "" = none
  [[nodiscard]] virtual std::string chunk(const ReplyPart& part) = 0;
  [[nodiscard]] virtual std::string last_chunk(uint32_t choice, ReplyEnd end) = 0;
  [[nodiscard]] virtual std::string usage_chunk(const ReplyUsage& usage) = 0;
  // REQUIRES: the choices in order, each whole and with its end.
  [[nodiscard]] virtual std::string whole(const std::vector<ReplyPart>& choices, const ReplyUsage& usage) = 0;
};

}  // namespace bellwether::gateway
