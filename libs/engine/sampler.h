// From logits to a token.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bellwether::engine {

struct SamplingParams {
  float temperature = 1;         // 0 = greedy; at most 2
  float top_p = 1;               // (0, 1]
  int32_t top_k = 0;             // 0 = all
  float min_p = 0;               // tokens less likely than min_p times the likeliest are out; [0, 1]
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

[[nodiscard]] bool has_penalties(const SamplingParams& params);

// A uniform number in [0, 1), a fixed function of (seed, position): a sequence continued elsewhere draws what an
// uninterrupted one would have drawn. `position` is the drawn token's index in the whole sequence, prompt included.
[[nodiscard]] double uniform(uint64_t seed, uint64_t position);

// How often each token was in the output so far; 0 for those that were in the prompt only.
using TokenCounts = std::unordered_map<int32_t, int64_t>;

// What one token depends on, beside its logits.
struct Draw {
  const SamplingParams& params;
  uint64_t position = 0;                   // see uniform()
  const TokenCounts* counts = nullptr;     // for the penalties; nullptr when there are none
  std::span<const int32_t> banned = {};    // these may not come
  std::span<const uint64_t> allowed = {};  // bit i % 64 of allowed[i / 64]: token i may come; empty = all may
};

// Draws tokens. What a draw yields is a fixed function of its arguments: the object only keeps memory from one draw to
// the next, so one serves all sequences of a thread.
//
// Order, as vLLM's: repetition, frequency and presence penalty, logit_bias, banned, allowed; then with temperature 0
// the first of the largest, else temperature, min_p, top_k, top_p (of what is left, each) and a draw. Where `banned`
// leaves no allowed token, it is waived; `allowed` is too where it has no token at all.
class Sampler {
 public:
  [[nodiscard]] int32_t draw(std::span<const float> logits, const Draw& draw);

 private:
  struct Candidate {
    int32_t id;
    float logit;
    float weight;
  };

  [[nodiscard]] std::span<const float> modify(std::span<const float> logits, const Draw& draw);
  void mask(const Draw& draw);
  void weigh(std::span<const float> logits, float largest, float temperature);
  [[nodiscard]] int32_t draw_of_all(double u, int32_t best);
  void select(std::span<const float> logits, float largest, const SamplingParams& params);
  void cut(const SamplingParams& params, double total);
  [[nodiscard]] double weight_of_selected() const;
  [[nodiscard]] int32_t draw_of_selected(double u) const;

  std::vector<float> modified_;      // (vocab_size,): logits
  std::vector<float> weights_;       // (vocab_size,): probabilities but for a common factor; the largest is 1
  std::vector<double> sums_;         // of pieces of weights_
  std::vector<Candidate> selected_;  // in order of id
};

}  // namespace bellwether::engine
