// What chat and completion requests have in common: how to generate and how to answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api-gateway/json_fields.h"
#include "api-gateway/text_constraint.h"

namespace bellwether::gateway {

// This server's, from its settings.
struct RequestLimits {
  size_t messages_max = 0;
  size_t prompts_max = 0;
  size_t prompt_tokens_max = 0;
  uint32_t choices_max = 0;  // of one prompt
};

// What is left of a prompt that is longer.
struct Truncation {
  std::optional<uint32_t> tokens = {};  // absent: as many as leave room for the output
  bool keeps_end = true;
};

struct GenerationParameters {
  std::string model = {};
  // Absent ones take the model's defaults.
  std::optional<double> temperature = {};
  std::optional<double> top_p = {};
  std::optional<uint32_t> top_k = {};       // 0 = all
  std::optional<uint64_t> seed = {};        // of the first choice; the others count up from it
  std::optional<uint32_t> max_tokens = {};  // 0: only the prompt is wanted back
  std::vector<std::string> stop = {};
  std::vector<uint32_t> stop_token_ids = {};
  bool keeps_stop = false;  // include_stop_str_in_output
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
  std::optional<TextConstraint> text_constraint = {};
  std::optional<uint32_t> prompt_logprobs = {};  // alternatives for each token of the prompt
  std::string cache_salt = {};
  std::optional<int32_t> priority = {};
  std::string session_id = {};
  std::optional<Truncation> truncation = {};
  bool keeps_special_tokens = false;
  bool returns_token_ids = false;
  bool tokens_as_ids = false;  // in log-probabilities
  bool stream = false;
  bool include_usage = false;     // a last chunk with the usage
  bool continuous_usage = false;  // the usage so far in every chunk
};

// Reads all but logprobs and max_tokens, which the two endpoints spell differently. A parameter that would change the
// answer and is not honoured is refused by name, unless its value asks for nothing; a member that no server knows is
// left alone, as OpenAI's servers do.
[[nodiscard]] GenerationParameters parse_generation_parameters(const JsonFields& body, const RequestLimits& limits);

// The parts that other APIs have under the same names.
[[nodiscard]] std::string parse_model(const JsonFields& body);
[[nodiscard]] std::vector<std::string> parse_stop_strings(const JsonFields& body, std::string_view name);

inline constexpr int64_t kTopLogprobsMax = 20;
inline constexpr size_t kSessionIdBytesMax = 256;
inline constexpr int64_t kMaxTokensMax = 1 << 30;

}  // namespace bellwether::gateway
