#include "engine/cpu/router.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/invariant.h"

namespace bellwether::engine::cpu {
namespace {

constexpr size_t kExpertsMax = 4096;  // as model_config.cpp allows

// Index of the largest value, the lowest among equals.
size_t argmax(std::span<const float> values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

constexpr float kTaken = -__builtin_huge_valf();  // loses against every candidate

float sum_of_two_largest(std::span<const float> values) {
  float first = kTaken;
  float second = kTaken;
  for (const float value : values) {
    second = std::max(second, std::min(first, value));
    first = std::max(first, value);
  }
  return first + second;
}

// Takes the candidates of all but the best topk_group groups out of the race.
void limit_to_groups(const ModelConfig& config, std::span<float> candidates) {
  if (config.topk_group == config.n_group) return;
  std::array<float, kExpertsMax> scores;
  std::array<bool, kExpertsMax> is_kept{};
  const auto groups = static_cast<size_t>(config.n_group);
  const size_t group_experts = candidates.size() / groups;
  for (size_t g = 0; g < groups; ++g) {
    scores[g] = sum_of_two_largest(candidates.subspan(g * group_experts, group_experts));
  }
  for (int64_t i = 0; i < config.topk_group; ++i) {
    const size_t best = argmax(std::span(scores).first(groups));
    is_kept[best] = true;
    scores[best] = kTaken;
  }
  for (size_t g = 0; g < groups; ++g) {
    if (!is_kept[g]) std::ranges::fill(candidates.subspan(g * group_experts, group_experts), kTaken);
  }
}

}  // namespace

void choose_experts(const ModelConfig& config, std::span<const float> logits, std::span<const float> bias,
                    std::span<ExpertChoice> choices) {
  require(logits.size() <= kExpertsMax, "more experts than a config may have");
  std::array<float, kExpertsMax> scores;
  std::array<float, kExpertsMax> all_candidates;
  const auto candidates = std::span(all_candidates).first(logits.size());
  for (size_t e = 0; e < logits.size(); ++e) {
    scores[e] = 1 / (1 + std::exp(-logits[e]));
    candidates[e] = scores[e] + bias[e];
  }
  limit_to_groups(config, candidates);
  for (ExpertChoice& choice : choices) {
    const size_t best = argmax(candidates);
    choice = {.expert = static_cast<int32_t>(best), .weight = scores[best]};
    candidates[best] = kTaken;
  }
  std::ranges::sort(choices, {}, &ExpertChoice::expert);

  float sum = 0;
  for (const ExpertChoice& choice : choices) sum += choice.weight;
  const auto scaling = static_cast<float>(config.routed_scaling_factor);
  for (ExpertChoice& choice : choices) {
    if (config.norm_topk_prob) choice.weight /= sum + 1e-20F;
    choice.weight *= scaling;
  }
}

}  // namespace bellwether::engine::cpu
