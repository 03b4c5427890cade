#include "engine/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "engine/logprobs.h"
#include "engine/mix.h"

namespace bellwether::engine {
namespace {

constexpr int32_t kTopLogprobsMax = 20;
constexpr float kImpossible = -std::numeric_limits<float>::infinity();
constexpr size_t kPiece = 64;  // weights summed together

// exp(x) for x <= 0 with a relative error below 1e-6; 0 below -80, and for NaN. std::exp would be most of the time of a
// draw; this has no branch and no call, so a compiler makes vectors of it. 2^(n + f): n goes into the exponent's bits,
// 2^f for f in [-1/2, 1/2] is Taylor's polynomial.
float exp_of_negative(float x) {
  constexpr float kLog2E = 1.44269504F;
  constexpr float kRound = 12582912;  // 1.5 * 2^23: added, it leaves the nearest whole number in the lowest bits
  const bool is_seen = x > -80;
  const float y = (is_seen ? x : 0) * kLog2E;
  const float shifted = y + kRound;
  const float f = (y - (shifted - kRound)) * 0.693147181F;
  const float power = 1 + f * (1 + f * (1.F / 2 + f * (1.F / 6 + f * (1.F / 24 + f * (1.F / 120 + f * (1.F / 720))))));
  const int32_t n = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound);
  const float value = std::bit_cast<float>(std::bit_cast<int32_t>(power) + n * (1 << 23));
  return is_seen ? value : 0;
}

bool has_any(std::span<const float> logits) {
  return std::ranges::any_of(logits, [](float logit) { return logit > kImpossible; });
}

}  // namespace

std::string check(const SamplingParams& params) {
  const auto within = [](float value, float min, float max) { return value >= min && value <= max; };  // false for NaN
  if (!within(params.temperature, 0, 2)) return "temperature must be from 0 to 2";
  if (!(params.top_p > 0 && params.top_p <= 1)) return "top_p must be above 0 and at most 1";
  if (params.top_k < 0) return "top_k must be 0 or more";
  if (!within(params.min_p, 0, 1)) return "min_p must be from 0 to 1";
  if (!(params.repetition_penalty > 0 && params.repetition_penalty <= 2)) {
    return "repetition_penalty must be above 0 and at most 2";
  }
  if (!within(params.presence_penalty, -2, 2)) return "presence_penalty must be from -2 to 2";
  if (!within(params.frequency_penalty, -2, 2)) return "frequency_penalty must be from -2 to 2";
  for (const auto& [id, bias] : params.logit_bias) {
    if (!within(bias, -100, 100)) return "logit_bias must be from -100 to 100";
  }
  if (params.top_logprobs < 0 || params.top_logprobs > kTopLogprobsMax) return "top_logprobs must be from 0 to 20";
  return "";
}

bool has_penalties(const SamplingParams& params) {
  return params.repetition_penalty != 1 || params.presence_penalty != 0 || params.frequency_penalty != 0;
}

double uniform(uint64_t seed, uint64_t position) {
  const uint64_t bits = mix(mix(seed + kGolden) + (position + 1) * kGolden);
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

int32_t Sampler::draw(std::span<const float> unmodified, const Draw& draw) {
  const SamplingParams& params = draw.params;
  const std::span<const float> logits = modify(unmodified, draw);
  const int32_t best = argmax(logits);
  // The second is a model that yields no numbers.
  if (params.temperature == 0 || !std::isfinite(logits[best])) return best;
  weigh(logits, logits[best], params.temperature);
  const double u = uniform(params.seed, draw.position);
  if (params.min_p == 0 && params.top_k == 0 && params.top_p == 1) return draw_of_all(u, best);
  select(logits, logits[best], params);
  return draw_of_selected(u);
}

// The logits with all that comes before the temperature; the given ones where nothing does.
std::span<const float> Sampler::modify(std::span<const float> logits, const Draw& draw) {
  const SamplingParams& params = draw.params;
  if (!has_penalties(params) && params.logit_bias.empty() && draw.banned.empty() && draw.allowed.empty()) {
    return logits;
  }
  modified_.assign(logits.begin(), logits.end());
  if (has_penalties(params) && draw.counts != nullptr) {
    for (const auto& [id, count] : *draw.counts) {
      float& logit = modified_[id];
      logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
      logit -= params.frequency_penalty * static_cast<float>(count);
      if (count > 0) logit -= params.presence_penalty;
    }
  }
  for (const auto& [id, bias] : params.logit_bias) modified_[id] += bias;
  mask(draw);
  return modified_;
}

void Sampler::mask(const Draw& draw) {
  const auto is_allowed = [&](size_t id) { return ((draw.allowed[id / 64] >> (id % 64)) & 1) != 0; };
  const bool has_allowed = std::ranges::any_of(draw.allowed, [](uint64_t bits) { return bits != 0; });
  if (has_allowed) {
    for (size_t id = 0; id < modified_.size(); ++id) modified_[id] = is_allowed(id) ? modified_[id] : kImpossible;
  }
  std::vector<float> waived;
  for (const int32_t id : draw.banned) waived.push_back(std::exchange(modified_[id], kImpossible));
  if (waived.empty() || has_any(modified_)) return;
  // Last to first, so that an id that is there twice ends as it was.
  for (size_t i = waived.size(); i-- > 0;) modified_[draw.banned[i]] = waived[i];
}

void Sampler::weigh(std::span<const float> logits, float largest, float temperature) {
  weights_.resize((logits.size() + kPiece - 1) / kPiece * kPiece);  // whole pieces
  for (size_t i = 0; i < logits.size(); ++i) weights_[i] = exp_of_negative((logits[i] - largest) / temperature);
  std::fill(weights_.begin() + std::ssize(logits), weights_.end(), 0.0F);
}

// In order of id: first the piece, then the token. `best` is the likeliest.
int32_t Sampler::draw_of_all(double u, int32_t best) {
  sums_.clear();
  for (size_t begin = 0; begin < weights_.size(); begin += kPiece) {
    std::array<float, 8> lanes{};  // sums that do not wait for each other
    for (size_t i = begin; i < begin + kPiece; i += lanes.size()) {
      for (size_t lane = 0; lane < lanes.size(); ++lane) lanes[lane] += weights_[i + lane];
    }
    sums_.push_back(std::accumulate(lanes.begin(), lanes.end(), 0.0));
  }
  double left = u * std::accumulate(sums_.begin(), sums_.end(), 0.0);
  size_t piece = 0;
  while (piece + 1 < sums_.size() && left >= sums_[piece]) left -= sums_[piece++];
  int32_t id = best;
  for (size_t i = piece * kPiece; i < weights_.size(); ++i) {
    if (weights_[i] == 0) continue;
    id = static_cast<int32_t>(i);
    left -= weights_[i];
    if (left < 0) break;
  }
  return id;  // where rounding left a crumb, the last that can be
}

// What min_p, top_k and top_p leave. Only the likeliest tokens are gathered and sorted: a histogram over the logits
// says how many are enough.
void Sampler::select(std::span<const float> logits, float largest, const SamplingParams& params) {
  constexpr int kBuckets = 256;
  const auto bucket_of = [&](size_t i) {
    constexpr float kBucketsPerNat = 4;
    return static_cast<int>(std::min((largest - logits[i]) / params.temperature * kBucketsPerNat, kBuckets - 1.F));
  };
  const auto is_out = [&](size_t i) { return weights_[i] == 0 || weights_[i] < params.min_p; };
  struct Bucket {
    int64_t tokens = 0;
    double weight = 0;
  };
  std::array<Bucket, kBuckets> buckets{};
  for (size_t i = 0; i < logits.size(); ++i) {
    if (is_out(i)) continue;
    Bucket& bucket = buckets[bucket_of(i)];
    ++bucket.tokens;
    bucket.weight += weights_[i];
  }
  const double total = std::accumulate(buckets.begin(), buckets.end(), 0.0,
                                       [](double sum, const Bucket& bucket) { return sum + bucket.weight; });
  int buckets_wanted = 0;
  Bucket reached;
  while (buckets_wanted < kBuckets &&
         (params.top_k > 0 ? reached.tokens < params.top_k : reached.weight < params.top_p * total)) {
    reached.tokens += buckets[buckets_wanted].tokens;
    reached.weight += buckets[buckets_wanted].weight;
    ++buckets_wanted;
  }
  selected_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (is_out(i) || bucket_of(i) >= buckets_wanted) continue;
    selected_.push_back({static_cast<int32_t>(i), logits[i], weights_[i]});
  }
  std::ranges::sort(selected_, [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  });
  cut(params, total);
  std::ranges::sort(selected_, {}, &Candidate::id);
}

// Of the sorted candidates, keeps the first top_k, and of those the fewest that reach top_p.
void Sampler::cut(const SamplingParams& params, double total) {
  if (params.top_k > 0) {
    selected_.resize(std::min(selected_.size(), static_cast<size_t>(params.top_k)));
    total = weight_of_selected();
  }
  double reached = 0;
  for (size_t i = 0; i < selected_.size() && params.top_p < 1; ++i) {
    reached += selected_[i].weight;
    if (reached >= params.top_p * total) selected_.resize(i + 1);
  }
}

double Sampler::weight_of_selected() const {
  return std::accumulate(selected_.begin(), selected_.end(), 0.0,
                         [](double sum, const Candidate& candidate) { return sum + candidate.weight; });
}

int32_t Sampler::draw_of_selected(double u) const {
  double left = u * weight_of_selected();
  for (const Candidate& candidate : selected_) {
    left -= candidate.weight;
    if (left < 0) return candidate.id;
  }
  return selected_.back().id;  // rounding left a crumb
}

}  // namespace bellwether::engine
