// From logits to a token.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace bellwether::engine {

struct SamplingParams {
  float temperature = 1;  // 0 = greedy; at most 2
  float top_p = 1;        // (0, 1]
  int32_t top_k = 0;      // 0 = all
  float min_p = 0;        // tokens less likely than min_p times the likeliest are out; [0, 1]
  float repetition_penalty = 1;  // of tokens in prompt or output: positive logits divided, others multiplied; (0, 2]
  float presence_penalty = 0;    // subtracted for tokens in the output; [-2, 2]
  float frequency_penalty = 0;   // the same for each time they are there; [-2, 2]
  std::vector<std::pair<int32_t, float>> logit_bias = {};  // added to a token's logit; [-100, 100]
  uint64_t seed = 0;
  bool logprobs = false;
  int32_t top_logprobs = 0;  // 0 to 20
};

// "" when the parameters can be used, otherwise what is wrong with which.
[[nodiscard]] std::string check(const SamplingParams& params);

// A uniform number in [0, 1), a fixed function of (seed, position): a sequence continued elsewhere draws what an
// uninterrupted one would have drawn. `position` is the drawn token's index in the whole sequence, prompt included.
[[nodiscard]] double uniform(uint64_t seed, uint64_t position);

// Draws a token from logits (vocab_size,): temperature, then top_k, then top_p, then a draw; greedy takes the first of
// the largest. Does not change the logits. Pure.
[[nodiscard]] int32_t sample(std::span<const float> logits, const SamplingParams& params, uint64_t position);

// ln softmax(logits)[id], in double precision inside.
[[nodiscard]] float logprob_of(std::span<const float> logits, int32_t id);

}  // namespace bellwether::engine
