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

struct ReplyUsage {
  uint32_t prompt_tokens = 0;
  uint32_t completion_tokens = 0;
  std::optional<uint32_t> cached_prompt_tokens;  // absent when the head did not get to say
};

// A piece of the reply, or all of it.
struct ReplyPart {
  OutputDelta output;
  std::vector<TokenLogprobs> logprobs;  // of the tokens it was made of, if asked for
};

enum class ReplyEnd { kStop, kLength, kToolCalls };

// One request's. The chunks of a stream are the JSON of one server-sent event each, without "data: ".
class ReplyFormat {
 public:
  virtual ~ReplyFormat() = default;
  [[nodiscard]] virtual std::string first_chunk() = 0;  // sent before any token; "" = none
  [[nodiscard]] virtual std::string chunk(const ReplyPart& part) = 0;
  [[nodiscard]] virtual std::string last_chunk(ReplyEnd end) = 0;
  [[nodiscard]] virtual std::string usage_chunk(const ReplyUsage& usage) = 0;
  [[nodiscard]] virtual std::string whole(const ReplyPart& part, ReplyEnd end, const ReplyUsage& usage) = 0;
};

}  // namespace bellwether::gateway
