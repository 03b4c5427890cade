// Expected values: the rule of tools/demo-model/synthetic.py, worked out element by element with exact arithmetic.
#include "weights/synthetic.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace bellwether::weights {
namespace {

template <class T>
T element(const Tensor& tensor, size_t index) {
  T value;
  std::memcpy(&value, tensor.data.data() + index * sizeof(T), sizeof(T));
  return value;
}

const std::string kDown = "model.layers.1.mlp.experts.3.down_proj.weight";

TEST(Synthetic, ProjectionsAreFp8WithScalesWhenAskedFor) {
  const auto source = make_synthetic_source(true);
  const Tensor weight = source->get(kDown, {320, 96});
  EXPECT_EQ(weight.dtype, DType::kF8E4M3);
  ASSERT_EQ(weight.data.size(), 320U * 96U);
  EXPECT_EQ(element<uint8_t>(weight, 0), 0x7A);
  EXPECT_EQ(element<uint8_t>(weight, 1), 0xF2);
  EXPECT_EQ(element<uint8_t>(weight, 2), 0xFC);
  EXPECT_EQ(element<uint8_t>(weight, 200 * 96 + 50), 0xFD);
  const Tensor scale = source->get(kDown + "_scale_inv", {3, 1});
  EXPECT_EQ(scale.dtype, DType::kF32);
  EXPECT_EQ(element<float>(scale, 0), 0x1.46d6ccp-11F);
  EXPECT_EQ(element<float>(scale, 1), 0x1.00e098p-11F);
  EXPECT_EQ(element<float>(scale, 2), 0x1.93eaf4p-11F);
}

TEST(Synthetic, AScaleComesAfterItsWeightOnly) {
  const auto source = make_synthetic_source(true);
  EXPECT_THROW((void)source->get(kDown + "_scale_inv", {3, 1}), WeightsError);
  (void)source->get(kDown, {320, 96});
  EXPECT_THROW((void)source->get(kDown + "_scale_inv", {3, 2}), WeightsError);
}

TEST(Synthetic, EverythingElseIsBf16OrFloat) {
  const auto source = make_synthetic_source(false);
  const Tensor weight = source->get(kDown, {320, 96});
  EXPECT_EQ(weight.dtype, DType::kBF16);
  EXPECT_EQ(element<uint16_t>(weight, 0), 0x3E47);
  EXPECT_EQ(element<uint16_t>(weight, 1), 0xBDCA);
  EXPECT_EQ(element<uint16_t>(weight, 2), 0xBE76);
  EXPECT_EQ(element<uint16_t>(weight, 5 * 96 + 7), 0x3CA7);
  const Tensor norm = source->get("model.norm.weight", {256});
  EXPECT_EQ(norm.dtype, DType::kBF16);
  EXPECT_EQ(element<uint16_t>(norm, 0), 0x3F2F);
  EXPECT_EQ(element<uint16_t>(norm, 1), 0x3F3F);
  EXPECT_EQ(element<uint16_t>(norm, 255), 0x3F86);
  const Tensor bias = source->get("model.layers.1.mlp.gate.e_score_correction_bias", {8});
  EXPECT_EQ(bias.dtype, DType::kF32);
  EXPECT_EQ(element<float>(bias, 0), -0x1.1eb8e6p-4F);
  EXPECT_EQ(element<float>(bias, 7), -0x1.f7a98p-6F);
  const Tensor embedding = source->get("model.embed_tokens.weight", {512, 256});
  EXPECT_EQ(element<uint16_t>(embedding, 0), 0xBE04);
  EXPECT_EQ(element<uint16_t>(embedding, 513), 0x3B42);
}

TEST(Synthetic, WhatCheckpointsKeepInBf16IsNotFp8) {
  const auto source = make_synthetic_source(true);
  EXPECT_EQ(source->get("model.layers.6.eh_proj.weight", {8, 16}).dtype, DType::kBF16);
  EXPECT_EQ(source->get("lm_head.weight", {8, 16}).dtype, DType::kBF16);
  EXPECT_EQ(source->get("model.layers.1.mlp.gate.weight", {8, 16}).dtype, DType::kBF16);
}

TEST(Synthetic, ATensorKeepsItsShapeAndItsPlace) {
  const auto source = make_synthetic_source(false);
  const Tensor first = source->get("model.norm.weight", {256});
  for (int i = 0; i < 100; ++i) (void)source->get("model.layers." + std::to_string(i) + ".input_layernorm.weight", {8});
  EXPECT_EQ(source->get("model.norm.weight", {256}).data.data(), first.data.data());
  EXPECT_THROW((void)source->get("model.norm.weight", {255}), WeightsError);
}

TEST(Synthetic, AForgottenTensorIsTheSameAgain) {
  const auto source = make_synthetic_source(true);
  const Tensor weight = source->get(kDown, {320, 96});
  const std::vector<std::byte> bytes(weight.data.begin(), weight.data.end());
  source->forget(kDown);
  source->forget("a tensor that nobody asked for");
  EXPECT_EQ(source->get(kDown + "_scale_inv", {3, 1}).shape, (Shape{3, 1}));
  EXPECT_THROW((void)source->get(kDown, {96, 320}), WeightsError);
  const Tensor again = source->get(kDown, {320, 96});
  EXPECT_EQ(std::vector<std::byte>(again.data.begin(), again.data.end()), bytes);
}

}  // namespace
}  // namespace bellwether::weights
