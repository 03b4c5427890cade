#include "engine/cpu/model_weights.h"

#include <fmt/format.h>

#include <atomic>
#include <cmath>
#include <cstring>

#include "weights/float_formats.h"

namespace bellwether::engine::cpu {
namespace {

using weights::DType;
using weights::Tensor;
using weights::WeightsError;

constexpr float kScaleMax = 128;  // times 2^120 it is still a float

int64_t blocks_of(int64_t size) {
  return (size + kScaleBlock - 1) / kScaleBlock;
}

class Loader {
 public:
  Loader(const ModelConfig& config, ThreadPool& pool, ModelWeights& model)
      : config_(config), pool_(pool), model_(model) {}

  [[nodiscard]] Matrix matrix(const std::string& name, int64_t rows, int64_t cols) {
    const Tensor tensor = model_.source->get(name, {rows, cols});
    Matrix matrix{.data = tensor.data.data(), .rows = rows, .cols = cols, .stride = cols};
    switch (tensor.dtype) {
      case DType::kF32:
        matrix.format = Matrix::Format::kF32;
        break;
      case DType::kBF16:
        matrix.format = Matrix::Format::kBF16;
        break;
      case DType::kF8E4M3:
        matrix.format = Matrix::Format::kFP8;
        check_codes(name, tensor.data);
        matrix.scales = scales(name + "_scale_inv", blocks_of(rows), blocks_of(cols));
        break;
      default:
        refuse_format(name, tensor.dtype);
    }
    return matrix;
  }

  [[nodiscard]] std::vector<float> vector(const std::string& name, int64_t size) {
    const Tensor tensor = model_.source->get(name, {size});
    std::vector<float> values(static_cast<size_t>(size));
    if (tensor.dtype == DType::kF32) {
      std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
    } else if (tensor.dtype == DType::kBF16) {
      for (size_t i = 0; i < values.size(); ++i) {
        uint16_t bits = 0;
        std::memcpy(&bits, tensor.data.data() + 2 * i, sizeof bits);
        values[i] = weights::float_of_bf16(bits);
      }
    } else {
      refuse_format(name, tensor.dtype);
    }
    return values;
  }

  [[nodiscard]] MlpWeights mlp(const std::string& prefix, int64_t inner) {
    return {.gate = matrix(prefix + "gate_proj.weight", inner, config_.hidden_size),
            .up = matrix(prefix + "up_proj.weight", inner, config_.hidden_size),
            .down = matrix(prefix + "down_proj.weight", config_.hidden_size, inner)};
  }

  [[nodiscard]] AttentionWeights attention(const std::string& prefix) {
    const int64_t heads = config_.num_attention_heads;
    const int64_t hidden = config_.hidden_size;
    const int64_t q_rows = heads * config_.qk_head_dim();
    AttentionWeights attention;
    if (config_.q_lora_rank > 0) {
      attention.q_a = matrix(prefix + "q_a_proj.weight", config_.q_lora_rank, hidden);
      attention.q_a_norm = vector(prefix + "q_a_layernorm.weight", config_.q_lora_rank);
      attention.q_b = matrix(prefix + "q_b_proj.weight", q_rows, config_.q_lora_rank);
    } else {
      attention.q_b = matrix(prefix + "q_proj.weight", q_rows, hidden);
    }
    attention.kv_a = matrix(prefix + "kv_a_proj_with_mqa.weight", config_.latent_dim(), hidden);
    attention.kv_a_norm = vector(prefix + "kv_a_layernorm.weight", config_.kv_lora_rank);
    attention.kv_b = matrix(prefix + "kv_b_proj.weight", heads * (config_.qk_nope_head_dim + config_.v_head_dim),
                            config_.kv_lora_rank);
    attention.o = matrix(prefix + "o_proj.weight", hidden, heads * config_.v_head_dim);
    return attention;
  }

  [[nodiscard]] LayerWeights layer(int64_t index) {
    const std::string prefix = fmt::format("model.layers.{}.", index);
    LayerWeights layer;
    layer.input_norm = vector(prefix + "input_layernorm.weight", config_.hidden_size);
    layer.attention = attention(prefix + "self_attn.");
    layer.post_attention_norm = vector(prefix + "post_attention_layernorm.weight", config_.hidden_size);
    if (!config_.is_moe_layer(index)) {
      layer.dense = mlp(prefix + "mlp.", config_.intermediate_size);
      return layer;
    }
    layer.router = matrix(prefix + "mlp.gate.weight", config_.n_routed_experts, config_.hidden_size);
    layer.router_bias = vector(prefix + "mlp.gate.e_score_correction_bias", config_.n_routed_experts);
    for (int64_t e = 0; e < config_.n_routed_experts; ++e) {
      layer.experts.push_back(mlp(fmt::format("{}mlp.experts.{}.", prefix, e), config_.moe_intermediate_size));
    }
    if (config_.n_shared_experts > 0) {
      layer.shared = mlp(prefix + "mlp.shared_experts.", config_.n_shared_experts * config_.moe_intermediate_size);
    }
    return layer;
  }

 private:
  [[noreturn]] static void refuse_format(const std::string& name, DType dtype) {
    throw WeightsError(fmt::format("tensor {}: {} weights are not supported", name, weights::name_of(dtype)));
  }

  void check_codes(const std::string& name, std::span<const std::byte> codes) {
    constexpr int64_t kPieceBytes = 1 << 20;
    const auto bytes = static_cast<int64_t>(codes.size());
    std::atomic<bool> has_nan = false;
    pool_.for_each((bytes + kPieceBytes - 1) / kPieceBytes, [&](int64_t piece) {
      const auto begin = static_cast<size_t>(piece * kPieceBytes);
      int found = 0;
      for (const std::byte code : codes.subspan(begin, std::min<size_t>(kPieceBytes, codes.size() - begin))) {
        found |= static_cast<int>((code & std::byte{0x7F}) == std::byte{0x7F});
      }
      if (found != 0) has_nan.store(true, std::memory_order_relaxed);
    });
    if (has_nan) throw WeightsError(fmt::format("tensor {}: holds NaN", name));
  }

  [[nodiscard]] const float* scales(const std::string& name, int64_t rows, int64_t cols) {
    const Tensor tensor = model_.source->get(name, {rows, cols});
    if (tensor.dtype != DType::kF32) refuse_format(name, tensor.dtype);
    const auto count = static_cast<size_t>(rows * cols);
    float* values = model_.scales.emplace_back(std::make_unique_for_overwrite<float[]>(count)).get();
    std::memcpy(values, tensor.data.data(), tensor.data.size());
    for (size_t i = 0; i < count; ++i) {
      if (!(std::fabs(values[i]) < kScaleMax)) {
        throw WeightsError(fmt::format("tensor {}: holds {}, which is no usable scale", name, values[i]));
      }
    }
    return values;
  }

  const ModelConfig& config_;
  ThreadPool& pool_;
  ModelWeights& model_;
};

}  // namespace

ModelWeights load_weights(const ModelConfig& config, std::unique_ptr<weights::TensorSource> source, ThreadPool& pool,
                          const std::function<void(double)>& progress) {
  ModelWeights model;
  model.source = std::move(source);
  Loader loader(config, pool, model);
  model.embedding = loader.matrix("model.embed_tokens.weight", config.vocab_size, config.hidden_size);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    if (progress) progress(static_cast<double>(i) / static_cast<double>(config.num_hidden_layers));
    model.layers.push_back(loader.layer(i));
  }
  model.norm = loader.vector("model.norm.weight", config.hidden_size);
  model.head = config.tie_word_embeddings ? model.embedding
                                          : loader.matrix("lm_head.weight", config.vocab_size, config.hidden_size);
  if (progress) progress(1);
  return model;
}

}  // namespace bellwether::engine::cpu
