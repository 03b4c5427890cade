#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace bellwether::engine {
namespace {

constexpr int32_t kTopLogprobsMax = 20;

// The finaliser of splitmix64: every bit of the input moves every bit of the output.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

bool is_better(std::span<const float> logits, int32_t a, int32_t b) {
  return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
}

int32_t best(std::span<const float> logits) {
  int32_t id = 0;
  // A NaN is never larger, so that a broken model yields a token rather than an id out of range.
  for (int32_t i = 1; i < static_cast<int32_t>(logits.size()); ++i) {
    if (logits[i] > logits[id] || std::isnan(logits[id])) id = i;
  }
  return id;
}

struct Candidate {
  int32_t id;
  double weight;  // not normalised
};

// All tokens or the top_k best of them, weighted by softmax at the temperature.
std::vector<Candidate> weigh(std::span<const float> logits, const SamplingParams& params) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::erase_if(ids, [&](int32_t id) { return std::isnan(logits[id]); });
  if (params.top_k > 0 && static_cast<size_t>(params.top_k) < ids.size()) {
    std::nth_element(ids.begin(), ids.begin() + params.top_k, ids.end(),
                     [&](int32_t a, int32_t b) { return is_better(logits, a, b); });
    ids.resize(params.top_k);
    std::sort(ids.begin(), ids.end());
  }
  std::vector<Candidate> candidates;
  candidates.reserve(ids.size());
  const double largest = logits[best(logits)];
  for (const int32_t id : ids) {
    candidates.push_back({id, std::exp((logits[id] - largest) / params.temperature)});
  }
  return candidates;
}

double total_of(std::span<const Candidate> candidates) {
  return std::accumulate(candidates.begin(), candidates.end(), 0.0,
                         [](double sum, const Candidate& candidate) { return sum + candidate.weight; });
}

// Keeps the fewest most likely candidates whose probabilities reach top_p. Sorts no more of them than it must.
void keep_top_p(std::vector<Candidate>& candidates, double top_p) {
  const double wanted = top_p * total_of(candidates);
  const auto heavier = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
  };
  double reached = 0;
  for (size_t sorted = 0, piece = 64; sorted < candidates.size(); piece *= 4) {
    const size_t end = std::min(candidates.size(), sorted + piece);
    std::partial_sort(candidates.begin() + static_cast<ptrdiff_t>(sorted),
                      candidates.begin() + static_cast<ptrdiff_t>(end), candidates.end(), heavier);
    for (; sorted < end; ++sorted) {
      reached += candidates[sorted].weight;
      if (reached >= wanted) {
        candidates.resize(sorted + 1);
        return;
      }
    }
  }
}

}  // namespace

std::string check(const SamplingParams& params) {
  if (!(params.temperature >= 0 && params.temperature <= 2)) return "temperature must be from 0 to 2";
  if (!(params.top_p > 0 && params.top_p <= 1)) return "top_p must be above 0 and at most 1";
  if (params.top_k < 0) return "top_k must be 0 or more";
  if (params.top_logprobs < 0 || params.top_logprobs > kTopLogprobsMax) return "top_logprobs must be from 0 to 20";
  return "";
}

double uniform(uint64_t seed, uint64_t position) {
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;  // 2^64 divided by the golden ratio, splitmix64's step
  const uint64_t bits = mix(mix(seed + kGolden) + (position + 1) * kGolden);
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

int32_t sample(std::span<const float> logits, const SamplingParams& params, uint64_t position) {
  if (params.temperature == 0) return best(logits);
  std::vector<Candidate> candidates = weigh(logits, params);
  if (candidates.empty()) return best(logits);
  if (params.top_p < 1) keep_top_p(candidates, params.top_p);
  double left = uniform(params.seed, position) * total_of(candidates);
  for (const Candidate& candidate : candidates) {
    left -= candidate.weight;
    if (left < 0) return candidate.id;
  }
  return candidates.back().id;  // rounding left a crumb
}

float logprob_of(std::span<const float> logits, int32_t id) {
  const double largest = logits[best(logits)];
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return static_cast<float>(logits[id] - largest - std::log(sum));
}

}  // namespace bellwether::engine
