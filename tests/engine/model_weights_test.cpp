#include "engine/cpu/model_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <span>
#include <vector>

#include "engine/tiny_model.h"
#include "weights/synthetic.h"

namespace bellwether::engine::cpu {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using weights::Tensor;
using weights::WeightsError;

// The synthetic weights, but for one tensor.
class AlteredSource final : public weights::TensorSource {
 public:
  AlteredSource(std::string name, std::function<void(Tensor&, std::vector<std::byte>&)> alter)
      : source_(weights::make_synthetic_source(true)), name_(std::move(name)), alter_(std::move(alter)) {}

  [[nodiscard]] Tensor get(const std::string& name, const weights::Shape& shape) override {
    Tensor tensor = source_->get(name, shape);
    if (name != name_) return tensor;
    bytes_.assign(tensor.data.begin(), tensor.data.end());
    alter_(tensor, bytes_);
    tensor.data = std::span(bytes_).last(tensor.data.size());
    return tensor;
  }
  [[nodiscard]] bool has(const std::string& name) const override { return source_->has(name); }

 private:
  std::unique_ptr<weights::TensorSource> source_;
  std::string name_;
  std::function<void(Tensor&, std::vector<std::byte>&)> alter_;
  std::vector<std::byte> bytes_;
};

std::string error_with(const std::string& name, std::function<void(Tensor&, std::vector<std::byte>&)> alter) {
  ThreadPool pool(2);
  try {
    (void)load_weights(tiny_config(), {}, std::make_unique<AlteredSource>(name, std::move(alter)), pool, {});
  } catch (const WeightsError& error) {
    return error.what();
  }
  return "no error";
}

const std::string kExpert = "model.layers.1.mlp.experts.7.up_proj.weight";

TEST(ModelWeights, AnFp8NanIsRefused) {
  for (const std::byte code : {std::byte{0x7F}, std::byte{0xFF}}) {
    EXPECT_THAT(error_with(kExpert, [code](Tensor&, auto& bytes) { bytes.back() = code; }),
                AllOf(HasSubstr(kExpert), HasSubstr("NaN")));
  }
}

TEST(ModelWeights, AScaleThatIsNoneIsRefused) {
  for (const float scale : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -128.0F}) {
    EXPECT_THAT(error_with(kExpert + "_scale_inv",
                           [scale](Tensor&, auto& bytes) { std::memcpy(bytes.data(), &scale, sizeof scale); }),
                AllOf(HasSubstr(kExpert + "_scale_inv"), HasSubstr("scale")));
  }
}

TEST(ModelWeights, AFormatThatIsNotComputedIsRefused) {
  const auto as_f16 = [](Tensor& tensor, auto&) { tensor.dtype = weights::DType::kF16; };
  for (const char* name : {"model.embed_tokens.weight", "model.norm.weight", "model.layers.0.mlp.down_proj.weight"}) {
    EXPECT_THAT(error_with(name, as_f16), AllOf(HasSubstr(name), HasSubstr("F16")));
  }
}

TEST(ModelWeights, ProgressRisesToOne) {
  ThreadPool pool(1);
  std::vector<double> seen;
  (void)load_weights(tiny_config(), {}, weights::make_synthetic_source(true), pool,
                     [&](double progress) { seen.push_back(progress); });
  EXPECT_THAT(seen, testing::ElementsAre(0, 0.5, 1));
}

// A source that keeps account of what was forgotten.
class ForgettingSource final : public weights::TensorSource {
 public:
  explicit ForgettingSource(int64_t& kept) : kept_(kept) {}
  [[nodiscard]] Tensor get(const std::string& name, const weights::Shape& shape) override {
    if (shape.size() == 2 && !name.ends_with("_scale_inv")) ++kept_;
    return source_->get(name, shape);
  }
  [[nodiscard]] bool has(const std::string& name) const override { return source_->has(name); }
  void forget(const std::string& name) override {
    --kept_;
    source_->forget(name);
  }

 private:
  std::unique_ptr<weights::TensorSource> source_ = weights::make_synthetic_source(true);
  int64_t& kept_;
};

TEST(ModelWeights, MatricesAreNotNeededOnceCopied) {
  ThreadPool pool(1);
  int64_t kept = 0;
  const ModelWeights model = load_weights(tiny_config(), {}, std::make_unique<ForgettingSource>(kept), pool, {});
  EXPECT_EQ(kept, 0);
  const auto source = weights::make_synthetic_source(true);
  const Tensor embedding =
      source->get("model.embed_tokens.weight", {tiny_config().vocab_size, tiny_config().hidden_size});
  EXPECT_EQ(std::memcmp(model.embedding.data, embedding.data.data(), embedding.data.size()), 0);
}

TEST(LargePages, EveryPieceIsAlignedAndApart) {
  LargePages pages;
  std::vector<std::span<std::byte>> pieces;
  for (const int64_t bytes : {1, 64, 100, 3 << 20, 65 << 20, 64 << 20, 0, 7}) {
    std::byte* piece = pages.allocate(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(piece) % 64, 0U);
    pieces.emplace_back(piece, static_cast<size_t>(std::min<int64_t>(bytes, 4096)));
  }
  for (size_t i = 0; i < pieces.size(); ++i) std::ranges::fill(pieces[i], static_cast<std::byte>(i));
  for (size_t i = 0; i < pieces.size(); ++i) EXPECT_THAT(pieces[i], testing::Each(static_cast<std::byte>(i)));
}

TEST(ModelWeights, ATensorAtAnOddAddressIsMoved) {
  const std::string name = "model.embed_tokens.weight";
  ThreadPool pool(1);
  const auto add_byte = [](Tensor&, auto& bytes) { bytes.insert(bytes.begin(), std::byte{0}); };
  const ModelWeights moved = load_weights(tiny_config(), {}, std::make_unique<AlteredSource>(name, add_byte), pool, {});
  const ModelWeights model = load_weights(tiny_config(), {}, weights::make_synthetic_source(true), pool, {});
  EXPECT_EQ(reinterpret_cast<uintptr_t>(moved.embedding.data) % 2, 0u);
  const auto bytes = static_cast<size_t>(model.embedding.rows * model.embedding.cols * 2);
  EXPECT_EQ(std::memcmp(moved.embedding.data, model.embedding.data, bytes), 0);
}

TEST(ModelWeights, TiedEmbeddingsAreTheHead) {
  ModelConfig config = tiny_config();
  config.tie_word_embeddings = true;
  ThreadPool pool(1);
  const ModelWeights model = load_weights(config, {}, weights::make_synthetic_source(true), pool, {});
  EXPECT_EQ(model.head.data, model.embedding.data);
}

}  // namespace
}  // namespace bellwether::engine::cpu
