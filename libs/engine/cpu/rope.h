// Rotary positions: pairs of neighbouring values turn by an angle that grows with the position (GPT-J's convention,
// which the published checkpoints use), with YaRN's frequencies for long contexts (arxiv.org/abs/2309.00071).
#pragma once

#include <cstdint>
#include <vector>

#include "engine/model_config.h"

namespace bellwether::engine::cpu {

class Rope {
 public:
  explicit Rope(const ModelConfig& config);

  // cosine and sine: (qk_rope_head_dim / 2) each.
  void angles(int64_t position, float* cosine, float* sine) const;

  [[nodiscard]] const std::vector<float>& frequencies() const { return frequencies_; }
  [[nodiscard]] float magnitude() const { return magnitude_; }

 private:
  std::vector<float> frequencies_;  // (qk_rope_head_dim / 2), radians per position
  float magnitude_ = 1;             // of every turned pair
};

// Turns `pairs` pairs of x in place.
void rotate(const float* cosine, const float* sine, int64_t pairs, float* x);

// What attention scores are multiplied by: 1 / sqrt(qk_head_dim), times YaRN's correction squared.
[[nodiscard]] float softmax_scale(const ModelConfig& config);

}  // namespace bellwether::engine::cpu
