#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "engine/logprobs.h"

namespace bellwether::engine {
namespace {

constexpr int kDraws = 20000;

int32_t sample(std::span<const float> logits, const SamplingParams& params, uint64_t position) {
  Sampler sampler;
  return sampler.draw(logits, {.params = params, .position = position});
}

// Probabilities by which ids of `logits` are drawn, over many positions.
std::vector<double> shares(const std::vector<float>& logits, SamplingParams params) {
  std::vector<double> shares(logits.size());
  for (uint64_t position = 0; position < kDraws; ++position) {
    shares[sample(logits, params, position)] += 1.0 / kDraws;
  }
  return shares;
}

double chi_square(const std::vector<double>& observed, const std::vector<double>& expected) {
  double sum = 0;
  for (size_t i = 0; i < observed.size(); ++i) {
    if (expected[i] == 0) {
      EXPECT_EQ(observed[i], 0) << i;
      continue;
    }
    const double difference = observed[i] - expected[i];
    sum += kDraws * difference * difference / expected[i];
  }
  return sum;
}

std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)) + 3);
  return logits;
}

// Fixed for ever: a sequence that moves to another build must draw what it would have drawn.
TEST(Uniform, HasItsGoldenValues) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  EXPECT_EQ(uniform(0, 0), 0x1.4e0dba5e9a32fp-1);
  EXPECT_EQ(uniform(0, 1), 0x1.6705460be8829p-1);
  EXPECT_EQ(uniform(1, 0), 0x1.7906ac21d0e58p-2);
  EXPECT_EQ(uniform(42, 1000), 0x1.63f919049aa49p-1);
  EXPECT_EQ(uniform(kMax, kMax), 0x1.1140638c16042p-2);
}

TEST(Uniform, FillsTheUnitIntervalEvenlyAlongSeedsAndPositions) {
  for (const bool along_seeds : {false, true}) {
    std::vector<double> bins(64);
    double previous = 0;
    double correlation = 0;
    for (uint64_t i = 0; i < kDraws; ++i) {
      const double u = along_seeds ? uniform(i, 17) : uniform(17, i);
      ASSERT_GE(u, 0);
      ASSERT_LT(u, 1);
      bins[static_cast<size_t>(u * 64)] += 1.0 / kDraws;
      correlation += (u - 0.5) * (previous - 0.5);
      previous = u;
    }
    EXPECT_LT(chi_square(bins, std::vector<double>(64, 1.0 / 64)), 110);  // 63 degrees of freedom, p about 2e-4
    EXPECT_LT(std::fabs(correlation / kDraws), 0.003);                    // 5 standard deviations
  }
}

TEST(Sample, GreedyTakesTheFirstOfTheLargest) {
  SamplingParams params{.temperature = 0};
  EXPECT_EQ(sample(std::vector<float>{1, 5, 3, 5}, params, 0), 1);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(sample(std::vector<float>{nan, 2, nan, 3, nan}, params, 0), 3);
  EXPECT_EQ(sample(std::vector<float>{-1e30F, -1e30F}, params, 0), 0);
}

TEST(Sample, FollowsTheSoftmax) {
  const std::vector<double> expected = {0.5, 0.2, 0.15, 0.1, 0.04, 0.01};
  EXPECT_LT(chi_square(shares(logits_of(expected), {.seed = 3}), expected), 20.5);  // 5 degrees, p = 0.001
}

TEST(Sample, TemperatureSharpens) {
  const std::vector<double> base = {0.5, 0.3, 0.2};
  std::vector<double> expected;
  for (const double p : base) expected.push_back(p * p / (0.25 + 0.09 + 0.04));
  EXPECT_LT(chi_square(shares(logits_of(base), {.temperature = 0.5F, .seed = 4}), expected), 13.8);
}

TEST(Sample, TopKKeepsTheBest) {
  const auto observed = shares(logits_of({0.1, 0.4, 0.2, 0.3}), {.top_k = 2, .seed = 5});
  EXPECT_LT(chi_square(observed, {0, 4.0 / 7, 0, 3.0 / 7}), 10.8);
}

TEST(Sample, TopKBreaksTiesByTheLowerId) {
  const auto observed = shares(logits_of({0.2, 0.4, 0.2, 0.2}), {.top_k = 2, .seed = 5});
  EXPECT_LT(chi_square(observed, {1.0 / 3, 2.0 / 3, 0, 0}), 10.8);
}

TEST(Sample, TopPKeepsTheFewestThatReachIt) {
  const auto logits = logits_of({0.1, 0.4, 0.2, 0.3});
  EXPECT_LT(chi_square(shares(logits, {.top_p = 0.69F, .seed = 6}), {0, 4.0 / 7, 0, 3.0 / 7}), 10.8);
  EXPECT_LT(chi_square(shares(logits, {.top_p = 0.71F, .seed = 6}), {0, 4.0 / 9, 2.0 / 9, 3.0 / 9}), 13.8);
  EXPECT_LT(chi_square(shares(logits, {.top_p = 0.01F, .seed = 6}), {0, 1, 0, 0}), 1e-9);
}

TEST(Sample, TopPOverManyTokensSortsAllItNeeds) {
  const std::vector<float> flat(1000, 0.5F);
  const auto observed = shares(flat, {.top_p = 0.5F, .seed = 7});
  for (size_t i = 0; i < flat.size(); ++i) EXPECT_EQ(observed[i] > 0, i < 500) << i;
}

TEST(Sample, TopPIsTakenAfterTopK) {
  // Of the best two, 4/7 and 3/7: the first alone reaches a half.
  const auto observed = shares(logits_of({0.1, 0.4, 0.2, 0.3}), {.top_p = 0.5F, .top_k = 2, .seed = 8});
  EXPECT_NEAR(observed[1], 1, 1e-9);
}

TEST(Sample, ImpossibleTokensAreNeverDrawn) {
  const float impossible = -std::numeric_limits<float>::infinity();
  EXPECT_LT(chi_square(shares({0, impossible, 0}, {.seed = 9}), {0.5, 0, 0.5}), 10.8);
}

TEST(Sample, MinPDropsTheUnlikely) {
  const auto logits = logits_of({0.1, 0.4, 0.2, 0.3});
  EXPECT_LT(chi_square(shares(logits, {.min_p = 0.6F, .seed = 10}), {0, 4.0 / 7, 0, 3.0 / 7}), 10.8);
  EXPECT_NEAR(shares(logits, {.min_p = 1, .seed = 10})[1], 1, 1e-9);
  // Of what min_p leaves, the first alone reaches a half.
  EXPECT_NEAR(shares(logits, {.top_p = 0.5F, .min_p = 0.6F, .seed = 10})[1], 1, 1e-9);
}

int32_t greedy(const std::vector<float>& logits, const SamplingParams& params, const TokenCounts& counts) {
  Sampler sampler;
  return sampler.draw(logits, {.params = params, .counts = &counts});
}

TEST(Penalties, OfRepetitionDividesOrMultiplies) {
  const SamplingParams params{.temperature = 0, .repetition_penalty = 2};
  EXPECT_EQ(greedy({4, 3, 1}, params, {{0, 0}}), 1);          // 2: it is in the prompt
  EXPECT_EQ(greedy({4, 1.5F, 1}, params, {{0, 3}}), 0);       // still 2, however often it was there
  EXPECT_EQ(greedy({-1, -1.5F, -3}, params, {{0, 1}}), 1);    // -2
  EXPECT_EQ(greedy({4, 3, 1}, params, {{0, 0}, {1, 1}}), 0);  // 2 and 1.5
}

TEST(Penalties, OfPresenceAndFrequencySubtractForTheOutputOnly) {
  EXPECT_EQ(greedy({4, 3, 1}, {.temperature = 0, .presence_penalty = 1.5F}, {{0, 0}}), 0);
  EXPECT_EQ(greedy({4, 3, 1}, {.temperature = 0, .presence_penalty = 1.5F}, {{0, 1}}), 1);
  EXPECT_EQ(greedy({4, 2, 1}, {.temperature = 0, .presence_penalty = 1.5F}, {{0, 9}}), 0);  // once, not nine times
  EXPECT_EQ(greedy({4, 3, 1}, {.temperature = 0, .frequency_penalty = 0.5F}, {{0, 1}}), 0);
  EXPECT_EQ(greedy({4, 3, 1}, {.temperature = 0, .frequency_penalty = 0.5F}, {{0, 3}}), 1);
  EXPECT_EQ(greedy({4, 3, 1}, {.temperature = 0, .frequency_penalty = -1}, {{2, 4}}), 2);
}

TEST(Penalties, DivideBeforeTheySubtract) {
  const SamplingParams params{.temperature = 0, .repetition_penalty = 2, .presence_penalty = 1};
  EXPECT_EQ(greedy({4, 1.2F}, params, {{0, 1}}), 1);  // 4 / 2 - 1, not (4 - 1) / 2
}

TEST(Masks, BiasBannedAndAllowed) {
  Sampler sampler;
  const std::vector<float> logits = {4, 3, 2, 1};
  const std::vector<int32_t> banned = {0, 1};
  const std::vector<uint64_t> allowed = {0b1011};
  const std::vector<uint64_t> only_banned = {0b0001};
  const std::vector<uint64_t> none = {0};
  const SamplingParams plain{.temperature = 0};
  const SamplingParams biased{.temperature = 0, .logit_bias = {{3, 2.5F}, {3, 1}}};
  EXPECT_EQ(sampler.draw(logits, {.params = biased}), 3);
  EXPECT_EQ(sampler.draw(logits, {.params = plain, .banned = banned}), 2);
  EXPECT_EQ(sampler.draw(logits, {.params = plain, .banned = banned, .allowed = allowed}), 3);
  EXPECT_EQ(sampler.draw(logits, {.params = plain, .allowed = std::vector<uint64_t>{0b1000}}), 3);
  // A constraint that leaves only what is banned wins; one that leaves nothing is none.
  EXPECT_EQ(sampler.draw(logits, {.params = plain, .banned = banned, .allowed = only_banned}), 0);
  EXPECT_EQ(sampler.draw(logits, {.params = plain, .allowed = none}), 0);
  const std::vector<int32_t> all = {0, 1, 2, 3, 2};
  EXPECT_EQ(sampler.draw(logits, {.params = plain, .banned = all}), 0);
}

// The same in the plainest way and in double precision: every token's probability first, then the draw.
int32_t draw_naively(std::vector<double> logits, const Draw& draw) {
  const SamplingParams& params = draw.params;
  const double impossible = -std::numeric_limits<double>::infinity();
  if (draw.counts != nullptr) {
    for (const auto& [id, count] : *draw.counts) {
      logits[id] = logits[id] > 0 ? logits[id] / params.repetition_penalty : logits[id] * params.repetition_penalty;
      logits[id] -= static_cast<double>(params.frequency_penalty) * static_cast<double>(count);
      if (count > 0) logits[id] -= params.presence_penalty;
    }
  }
  for (const auto& [id, bias] : params.logit_bias) logits[id] += bias;
  for (const int32_t id : draw.banned) logits[id] = impossible;
  for (size_t id = 0; id < logits.size() && !draw.allowed.empty(); ++id) {
    if ((draw.allowed[id / 64] >> (id % 64) & 1) == 0) logits[id] = impossible;
  }
  const auto largest = std::ranges::max_element(logits);
  if (params.temperature == 0) return static_cast<int32_t>(largest - logits.begin());
  std::vector<std::pair<double, int32_t>> kept;  // probability, id
  const auto normalise = [&] {
    double sum = 0;
    for (const auto& [p, id] : kept) sum += p;
    for (auto& [p, id] : kept) p /= sum;
  };
  for (size_t id = 0; id < logits.size(); ++id) {
    kept.emplace_back(std::exp((logits[id] - *largest) / params.temperature), static_cast<int32_t>(id));
  }
  std::erase_if(kept, [&](const auto& entry) { return entry.first < params.min_p; });
  std::ranges::sort(
      kept, [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  if (params.top_k > 0) kept.resize(std::min<size_t>(kept.size(), params.top_k));
  normalise();
  double reached = 0;
  size_t count = 0;
  while (count < kept.size() && reached < params.top_p) reached += kept[count++].first;
  kept.resize(count);
  normalise();
  std::ranges::sort(kept, {}, &std::pair<double, int32_t>::second);
  double left = uniform(params.seed, draw.position);
  for (const auto& [p, id] : kept) {
    left -= p;
    if (left < 0) return id;
  }
  return kept.back().second;
}

TEST(Sampler, DrawsAsThePlainestImplementationDoes) {
  std::mt19937_64 random(1);
  const auto real = [&](double min, double max) { return std::uniform_real_distribution(min, max)(random); };
  const auto whole = [&](int64_t min, int64_t max) { return std::uniform_int_distribution(min, max)(random); };
  const auto sometimes = [&] { return whole(0, 2) == 0; };
  Sampler sampler;
  for (int round = 0; round < 20000; ++round) {
    const int64_t vocab = whole(2, 300);
    const double spread = real(0.1, 12);
    std::vector<float> logits;
    for (int64_t i = 0; i < vocab; ++i) logits.push_back(static_cast<float>(real(-spread, spread)));
    SamplingParams params{.temperature = sometimes() ? 0 : static_cast<float>(real(0.05, 2)), .seed = random()};
    if (sometimes()) params.top_p = static_cast<float>(real(0.01, 1));
    if (sometimes()) params.top_k = static_cast<int32_t>(whole(1, vocab + 3));
    if (sometimes()) params.min_p = static_cast<float>(real(0, 1));
    if (sometimes()) params.repetition_penalty = static_cast<float>(real(0.1, 2));
    if (sometimes()) params.presence_penalty = static_cast<float>(real(-2, 2));
    if (sometimes()) params.frequency_penalty = static_cast<float>(real(-2, 2));
    TokenCounts counts;
    for (int64_t i = whole(0, 30); i > 0; --i) counts[static_cast<int32_t>(whole(0, vocab - 1))] += whole(0, 2);
    for (int64_t i = sometimes() ? whole(0, 5) : 0; i > 0; --i) {
      params.logit_bias.emplace_back(static_cast<int32_t>(whole(0, vocab - 1)), static_cast<float>(real(-9, 9)));
    }
    std::vector<int32_t> banned;
    if (sometimes()) banned = {0};
    std::vector<uint64_t> allowed;
    if (sometimes()) {
      for (int64_t i = 0; i < vocab; i += 64) allowed.push_back(random() | 2);  // 1 is never banned
    }
    const Draw draw{.params = params,
                    .position = random(),
                    .counts = has_penalties(params) ? &counts : nullptr,
                    .banned = banned,
                    .allowed = allowed};
    const std::vector<float> before = logits;
    ASSERT_EQ(sampler.draw(logits, draw), draw_naively({logits.begin(), logits.end()}, draw)) << "round " << round;
    ASSERT_EQ(logits, before);
  }
}

TEST(Sampler, DrawsFromALargeVocabularyToo) {
  std::mt19937_64 random(2);
  std::normal_distribution<float> normal(0, 4);
  Sampler sampler;
  for (int round = 0; round < 20; ++round) {
    std::vector<float> logits(129280);
    for (float& logit : logits) logit = normal(random);
    for (const SamplingParams& params :
         {SamplingParams{.seed = random()}, SamplingParams{.temperature = 0.6F, .top_p = 0.95F, .seed = random()},
          SamplingParams{.top_k = 50, .seed = random()}, SamplingParams{.min_p = 0.001F, .seed = random()}}) {
      const Draw draw{.params = params, .position = 5};
      EXPECT_EQ(sampler.draw(logits, draw), draw_naively({logits.begin(), logits.end()}, draw));
    }
  }
}

TEST(Logprob, TheBestComeInOrder) {
  std::vector<TokenLogprob> best;
  const auto logits = logits_of({0.1, 0.4, 0.1, 0.4});
  Logprobs(logits).append_best(3, best);
  ASSERT_EQ(best.size(), 3U);
  EXPECT_EQ(best[0].id, 1);
  EXPECT_EQ(best[1].id, 3);
  EXPECT_EQ(best[2].id, 0);
  EXPECT_NEAR(best[2].logprob, std::log(0.1), 1e-6);
  Logprobs(logits).append_best(0, best);
  EXPECT_EQ(best.size(), 3U);
  Logprobs(logits).append_best(20, best);  // more than there are
  EXPECT_EQ(best.size(), 7U);
}

TEST(Logprob, IsTheLogarithmOfTheSoftmax) {
  const auto logits = logits_of({0.5, 0.3, 0.2});
  EXPECT_NEAR(Logprobs(logits).of(1).logprob, std::log(0.3), 1e-6);
  const std::vector<float> far = {10000, 0};
  EXPECT_NEAR(Logprobs(far).of(1).logprob, -10000, 1e-3);
}

TEST(Check, NamesTheBadParameter) {
  EXPECT_EQ(check({}), "");
  EXPECT_EQ(check({.temperature = 0}), "");
  EXPECT_NE(check({.temperature = -0.1F}).find("temperature"), std::string::npos);
  EXPECT_NE(check({.temperature = 2.1F}).find("temperature"), std::string::npos);
  EXPECT_NE(check({.temperature = std::nanf("")}).find("temperature"), std::string::npos);
  EXPECT_NE(check({.top_p = 0}).find("top_p"), std::string::npos);
  EXPECT_NE(check({.top_p = 1.1F}).find("top_p"), std::string::npos);
  EXPECT_NE(check({.top_k = -1}).find("top_k"), std::string::npos);
  EXPECT_NE(check({.min_p = 1.1F}).find("min_p"), std::string::npos);
  EXPECT_NE(check({.min_p = -0.1F}).find("min_p"), std::string::npos);
  EXPECT_NE(check({.repetition_penalty = 0}).find("repetition_penalty"), std::string::npos);
  EXPECT_NE(check({.repetition_penalty = 2.1F}).find("repetition_penalty"), std::string::npos);
  EXPECT_NE(check({.presence_penalty = -2.1F}).find("presence_penalty"), std::string::npos);
  EXPECT_NE(check({.frequency_penalty = std::nanf("")}).find("frequency_penalty"), std::string::npos);
  EXPECT_NE(check({.logit_bias = {{1, 0}, {2, 101}}}).find("logit_bias"), std::string::npos);
  EXPECT_NE(check({.top_logprobs = 21}).find("top_logprobs"), std::string::npos);
}

}  // namespace
}  // namespace bellwether::engine
