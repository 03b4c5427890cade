// What chat and completion requests have in common: how to generate and how to answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api-gateway/json_fields.h"

namespace bellwether::gateway {

struct GenerationParameters {
  std::string model;
  // Absent ones take the model's defaults.
  std::optional<double> temperature = {};
  std::optional<double> top_p = {};
  std::optional<uint32_t> top_k = {};  // 0 = all
  std::optional<uint64_t> seed = {};
  std::optional<uint32_t> max_tokens = {};
  std::vector<std::string> stop = {};
  std::vector<uint32_t> stop_token_ids = {};
  bool ignore_eos = false;
  bool logprobs = false;
  uint32_t top_logprobs = 0;
  int32_t priority = 0;
  bool stream = false;
  bool include_usage = false;  // a last chunk with the usage
};

// Reads all but logprobs and max_tokens, which the two endpoints spell differently. A parameter that would change the
// answer and is not honoured is refused by name, unless its value asks for nothing; a member that no server knows is
// left alone, as OpenAI's servers do.
[[nodiscard]] GenerationParameters parse_generation_parameters(const JsonFields& body);

inline constexpr int64_t kTopLogprobsMax = 20;
inline constexpr int64_t kMaxTokensMax = 1 << 30;

}  // namespace bellwether::gateway
