#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

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
  EXPECT_NE(check({.top_logprobs = 21}).find("top_logprobs"), std::string::npos);
}

}  // namespace
}  // namespace bellwether::engine
