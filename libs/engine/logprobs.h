// Log-probabilities of tokens: of the softmax of the model's own logits, before anything that sampling does to them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace bellwether::engine {

struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0;  // natural logarithm
};

// The log-probabilities of one row of logits (vocab_size,), which must outlive it.
class Logprobs {
 public:
  explicit Logprobs(std::span<const float> logits);

  [[nodiscard]] TokenLogprob of(int32_t id) const;
  // Appends the `count` most likely tokens, best first, the lower id first among equals.
  void append_best(int32_t count, std::vector<TokenLogprob>& out) const;

 private:
  std::span<const float> logits_;
  double log_sum_ = 0;  // of exp(logit)
};

// The id of the largest, the first of equals. A NaN is never larger, so that a broken model yields a token rather than
// an id out of range.
[[nodiscard]] int32_t argmax(std::span<const float> logits);

}  // namespace bellwether::engine
