#include "engine/cpu/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bellwether::engine::cpu {
namespace {

double yarn_mscale(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

// The frequency index at which a pair turns `turns` times within the original context.
double correction_dim(double turns, double dim, double theta, const YarnConfig& yarn) {
  const double wave = static_cast<double>(yarn.original_context) / (turns * 2 * std::numbers::pi);
  return dim * std::log(wave) / (2 * std::log(theta));
}

}  // namespace

// Angles at high positions magnify the last bit of a frequency, so each step is rounded to float32 where the reference
// implementations round it.
Rope::Rope(const ModelConfig& config) {
  const auto dim = static_cast<double>(config.qk_rope_head_dim);
  for (int64_t i = 0; i < config.qk_rope_head_dim; i += 2) {
    const auto exponent = static_cast<float>(i) / static_cast<float>(dim);
    frequencies_.push_back(static_cast<float>(std::pow(config.rope_theta, static_cast<double>(exponent))));
  }
  if (!config.yarn) {
    for (float& frequency : frequencies_) frequency = 1 / frequency;
    return;
  }
  const YarnConfig& yarn = *config.yarn;
  const double low = std::max(std::floor(correction_dim(yarn.beta_fast, dim, config.rope_theta, yarn)), 0.0);
  const double high = std::min(std::ceil(correction_dim(yarn.beta_slow, dim, config.rope_theta, yarn)), dim - 1);
  const auto span = static_cast<float>(high == low ? 1e-3 : high - low);
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const float ramp = std::clamp((static_cast<float>(i) - static_cast<float>(low)) / span, 0.0F, 1.0F);
    const float stretched = 1 / (static_cast<float>(yarn.factor) * frequencies_[i]) * ramp;
    const float original = 1 / frequencies_[i] * (1 - ramp);
    frequencies_[i] = stretched + original;
  }
  magnitude_ =
      static_cast<float>(yarn_mscale(yarn.factor, yarn.mscale) / yarn_mscale(yarn.factor, yarn.mscale_all_dim));
}

void Rope::angles(int64_t position, float* cosine, float* sine) const {
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const float angle = static_cast<float>(position) * frequencies_[i];
    cosine[i] = std::cos(angle) * magnitude_;
    sine[i] = std::sin(angle) * magnitude_;
  }
}

void rotate(const float* cosine, const float* sine, int64_t pairs, float* x) {
  for (int64_t i = 0; i < pairs; ++i) {
    const float a = x[2 * i];
    const float b = x[2 * i + 1];
    x[2 * i] = a * cosine[i] - b * sine[i];
    x[2 * i + 1] = a * sine[i] + b * cosine[i];
  }
}

float softmax_scale(const ModelConfig& config) {
  const double scale = 1 / std::sqrt(static_cast<double>(config.qk_head_dim()));
  if (!config.yarn) return static_cast<float>(scale);
  const double correction = yarn_mscale(config.yarn->factor, config.yarn->mscale_all_dim);
  return static_cast<float>(scale * correction * correction);
}

}  // namespace bellwether::engine::cpu
