#include "engine/logprobs.h"

#include <algorithm>
#include <cmath>

namespace bellwether::engine {

int32_t argmax(std::span<const float> logits) {
  int32_t id = 0;
  for (int32_t i = 1; i < static_cast<int32_t>(logits.size()); ++i) {
    if (logits[i] > logits[id] || std::isnan(logits[id])) id = i;
  }
  return id;
}

Logprobs::Logprobs(std::span<const float> logits) : logits_(logits) {
  const double largest = logits[argmax(logits)];
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  log_sum_ = largest + std::log(sum);
}

TokenLogprob Logprobs::of(int32_t id) const {
  return {.id = id, .logprob = static_cast<float>(logits_[id] - log_sum_)};
}

void Logprobs::append_best(int32_t count, std::vector<TokenLogprob>& out) const {
  const auto is_better = [this](int32_t a, int32_t b) {
    return logits_[a] != logits_[b] ? logits_[a] > logits_[b] : a < b;
  };
  std::vector<int32_t> best;  // sorted; `count` is small
  for (int32_t id = 0; id < static_cast<int32_t>(logits_.size()); ++id) {
    const bool is_full = std::ssize(best) == count;
    if (std::isnan(logits_[id]) || (is_full && (count == 0 || !is_better(id, best.back())))) continue;
    if (is_full) best.pop_back();
    best.insert(std::ranges::upper_bound(best, id, is_better), id);
  }
  for (const int32_t id : best) out.push_back(of(id));
}

}  // namespace bellwether::engine
