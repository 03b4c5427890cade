// Which experts a token goes to (DeepSeek-V3, arxiv.org/abs/2412.19437, section 2.1.2).
#pragma once

#include <cstdint>
#include <span>

#include "engine/model_config.h"

namespace bellwether::engine::cpu {

struct ExpertChoice {
  int32_t expert;
  float weight;
};

// From the gate's logits (n_routed_experts,) and the correction bias (n_routed_experts,) to num_experts_per_tok
// choices, in order of expert. The bias takes part in choosing, not in the weights. Equal candidates: the lower index.
//
// Experts of groups that were not chosen are out of the race, as in DeepSeek's own code and in the transformers release
// that made the references. Earlier releases had them compete with 0, which differs only when a chosen group's
// candidate is below 0: tests/data/synthetic/blocks has such tokens.
void choose_experts(const ModelConfig& config, std::span<const float> logits, std::span<const float> bias,
                    std::span<ExpertChoice> choices);

}  // namespace bellwether::engine::cpu
