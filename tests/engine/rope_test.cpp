#include "engine/cpu/rope.h"

#include <gtest/gtest.h>

#include <cmath>

namespace bellwether::engine::cpu {
namespace {

ModelConfig r1_config() {
  ModelConfig config;
  config.qk_nope_head_dim = 128;
  config.qk_rope_head_dim = 64;
  config.rope_theta = 10000;
  config.yarn = YarnConfig{.factor = 40, .original_context = 4096, .mscale = 1, .mscale_all_dim = 1};
  return config;
}

TEST(Rope, YarnFrequenciesOfDeepSeekR1) {
  const Rope rope(r1_config());
  ASSERT_EQ(rope.frequencies().size(), 32U);
  EXPECT_FLOAT_EQ(rope.frequencies()[0], 1.0F);
  EXPECT_NEAR(rope.frequencies()[11], 0.03900693, 1e-8);
  EXPECT_NEAR(rope.frequencies()[16], 0.0055, 1e-8);
  EXPECT_NEAR(rope.frequencies()[23], 3.333804e-5, 1e-11);
  EXPECT_NEAR(rope.frequencies()[31], 3.333804e-6, 1e-12);
}

TEST(Rope, SoftmaxScaleOfDeepSeekR1) {
  EXPECT_NEAR(softmax_scale(r1_config()), 0.13523378, 1e-8);
  ModelConfig plain = r1_config();
  plain.yarn.reset();
  EXPECT_NEAR(softmax_scale(plain), 1 / std::sqrt(192.0), 1e-8);
}

TEST(Rope, PlainFrequencies) {
  ModelConfig config = r1_config();
  config.yarn.reset();
  const Rope rope(config);
  EXPECT_NEAR(rope.frequencies()[16], std::pow(10000.0, -0.5), 1e-9);
}

TEST(Rope, MagnitudeFollowsTheTwoMscales) {
  ModelConfig config = r1_config();
  config.yarn->mscale_all_dim = 0;
  float cosine[32];
  float sine[32];
  Rope(config).angles(0, cosine, sine);
  EXPECT_NEAR(cosine[0], 0.1 * std::log(40.0) + 1, 1e-6);
  EXPECT_EQ(sine[0], 0);
}

TEST(Rope, NeighboursTurnTogether) {
  const float cosine[] = {0, 1};
  const float sine[] = {1, 0};
  float x[] = {1, 2, 3, 4};
  rotate(cosine, sine, 2, x);
  EXPECT_EQ(x[0], -2);  // a quarter turn of (1, 2)
  EXPECT_EQ(x[1], 1);
  EXPECT_EQ(x[2], 3);
  EXPECT_EQ(x[3], 4);
}

}  // namespace
}  // namespace bellwether::engine::cpu
