// What chat and completion requests have in common: how to generate and how to answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api-gateway/json_fields.h"

namespace bellwether::gateway {

struct GenerationParameters {
  std::string model = {};
  // Absent ones take the model's defaults.
  std::optional<double> temperature = {};
  std::optional<double> top_p = {};
  std::optional<uint32_t> top_k = {};  // 0 = all
  std::optional<uint64_t> seed = {};   // of the first choice; the others count up from it
  std::optional<uint32_t> max_tokens = {};
  std::vector<std::string> stop = {};
  std::vector<uint32_t> stop_token_ids = {};
  bool ignore_eos = false;
  bool logprobs = false;
  uint32_t top_logprobs = 0;
  double min_p = 0;
  double repetition_penalty = 1;
  double presence_penalty = 0;
  double frequency_penalty = 0;
  std::vector<std::pair<uint32_t, double>> logit_bias = {};  // by token id
  uint32_t min_tokens = 0;
  uint32_t choices = 1;
  std::optional<uint32_t> prompt_logprobs = {};  // alternatives for each token of the prompt
  std::string cache_salt = {};
  int32_t priority = 0;
  bool stream = false;
  bool include_usage = false;  // a last chunk with the usage
};

// Reads all but logprobs and max_tokens, which the two endpoints spell differently, and prompt_logprobs, which only one
// has. A parameter that would change the
// answer and is not honoured is refused by name, unless its value asks for nothing; a member that no server knows is
// left alone, as OpenAI's servers do.
[[nodiscard]] GenerationParameters parse_generation_parameters(const JsonFields& body);

inline constexpr int64_t kTopLogprobsMax = 20;
inline constexpr int64_t kMaxTokensMax = 1 << 30;

}  // namespace bellwether::gateway
