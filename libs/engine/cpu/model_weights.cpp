#include "engine/cpu/model_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <new>

#include "engine/cpu/amx.h"
#include "engine/cpu/kernels.h"
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

int64_t bytes_of(const Matrix& matrix, int64_t elements) {
  return elements * Matrix::bytes_of(matrix.format);
}

class Loader {
 public:
  Loader(const ModelConfig& config, weights::TensorSource& source, ThreadPool& pool, ModelWeights& model)
      : config_(config), slices_(model.slices), source_(source), pool_(pool), model_(model) {}

  // What a matrix is read by: products alone, or, kRows, row by row as well.
  enum class Order { kProducts, kRows };

  // `rows` and `cols` of the tensor `name` of that shape.
  [[nodiscard]] Matrix matrix(const std::string& name, int64_t all_rows, Slice rows, int64_t all_cols, Slice cols,
                              Order order = Order::kProducts) {
    const Matrix whole = whole_matrix(name, all_rows, all_cols);
    const Matrix part = whole.part(rows.begin, rows.size(), cols.begin, cols.size());
    const bool is_fp8 = whole.format == Matrix::Format::kFP8;
    if (is_fp8) check_codes(name, part);
    const Matrix copy = order == Order::kProducts && amx::takes(part) ? tiled(part)
                        : is_fp8 && cols.begin % kVectorColumns != 0  ? unpacked(whole, rows, cols)
                                                                      : side_by_side(part);
    source_.forget(name);
    return copy;
  }
  [[nodiscard]] Matrix matrix(const std::string& name, int64_t rows, int64_t cols, Order order = Order::kProducts) {
    return matrix(name, rows, {0, rows}, cols, {0, cols}, order);
  }
  [[nodiscard]] Matrix row_slice(const std::string& name, int64_t all_rows, Slice rows, int64_t cols,
                                 Order order = Order::kProducts) {
    return matrix(name, all_rows, rows, cols, {0, cols}, order);
  }
  [[nodiscard]] Matrix column_slice(const std::string& name, int64_t rows, int64_t all_cols, Slice cols) {
    return matrix(name, rows, {0, rows}, all_cols, cols);
  }

  [[nodiscard]] std::vector<float> vector(const std::string& name, int64_t size) {
    const Tensor tensor = source_.get(name, {size});
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

  [[nodiscard]] MlpWeights mlp(const std::string& prefix, int64_t all, Slice inner) {
    return {.gate = row_slice(prefix + "gate_proj.weight", all, inner, config_.hidden_size),
            .up = row_slice(prefix + "up_proj.weight", all, inner, config_.hidden_size),
            .down = column_slice(prefix + "down_proj.weight", config_.hidden_size, all, inner)};
  }

  [[nodiscard]] AttentionWeights attention(const std::string& prefix) {
    const int64_t hidden = config_.hidden_size;
    const int64_t kv_rows = config_.qk_nope_head_dim + config_.v_head_dim;  // of kv_b, for each head
    // This rank's part of what has `size` rows or columns for each head.
    const auto of_heads = [&](int64_t size) { return Slice{slices_.heads.begin * size, slices_.heads.end * size}; };
    const auto of_all = [&](int64_t size) { return config_.num_attention_heads * size; };
    const auto head_rows = [&](const char* name, int64_t size, int64_t cols, Order order = Order::kProducts) {
      return row_slice(prefix + name, of_all(size), of_heads(size), cols, order);
    };
    AttentionWeights attention;
    if (config_.q_lora_rank > 0) {
      attention.q_a = matrix(prefix + "q_a_proj.weight", config_.q_lora_rank, hidden);
      attention.q_a_norm = vector(prefix + "q_a_layernorm.weight", config_.q_lora_rank);
      attention.q_b = head_rows("q_b_proj.weight", config_.qk_head_dim(), config_.q_lora_rank);
    } else {
      attention.q_b = head_rows("q_proj.weight", config_.qk_head_dim(), hidden);
    }
    attention.kv_a = matrix(prefix + "kv_a_proj_with_mqa.weight", config_.latent_dim(), hidden);
    attention.kv_a_norm = vector(prefix + "kv_a_layernorm.weight", config_.kv_lora_rank);
    attention.kv_b = head_rows("kv_b_proj.weight", kv_rows, config_.kv_lora_rank, Order::kRows);
    attention.o =
        column_slice(prefix + "o_proj.weight", hidden, of_all(config_.v_head_dim), of_heads(config_.v_head_dim));
    return attention;
  }

  [[nodiscard]] LayerWeights layer(int64_t index) {
    const std::string prefix = fmt::format("model.layers.{}.", index);
    LayerWeights layer;
    layer.input_norm = vector(prefix + "input_layernorm.weight", config_.hidden_size);
    layer.attention = attention(prefix + "self_attn.");
    layer.post_attention_norm = vector(prefix + "post_attention_layernorm.weight", config_.hidden_size);
    if (!config_.is_moe_layer(index)) {
      layer.dense = mlp(prefix + "mlp.", config_.intermediate_size, slices_.dense);
      return layer;
    }
    layer.router = matrix(prefix + "mlp.gate.weight", config_.n_routed_experts, config_.hidden_size);
    layer.router_bias = vector(prefix + "mlp.gate.e_score_correction_bias", config_.n_routed_experts);
    for (int64_t e = 0; e < config_.n_routed_experts; ++e) {
      layer.experts.push_back(
          mlp(fmt::format("{}mlp.experts.{}.", prefix, e), config_.moe_intermediate_size, slices_.expert));
    }
    if (config_.n_shared_experts > 0) {
      layer.shared =
          mlp(prefix + "mlp.shared_experts.", config_.n_shared_experts * config_.moe_intermediate_size, slices_.shared);
    }
    return layer;
  }

  [[nodiscard]] DraftWeights draft() {
    const int64_t hidden = config_.hidden_size;
    const std::string prefix = fmt::format("model.layers.{}.", config_.num_hidden_layers);
    return {.embedding_norm = vector(prefix + "enorm.weight", hidden),
            .hidden_norm = vector(prefix + "hnorm.weight", hidden),
            .input = column_slice(prefix + "eh_proj.weight", hidden, 2 * hidden, slices_.draft_input),
            .layer = layer(config_.num_hidden_layers),
            .norm = vector(prefix + "shared_head.norm.weight", hidden)};
  }

 private:
  static constexpr int64_t kVectorColumns = 16;  // as Matrix::scale_col

  [[nodiscard]] Matrix whole_matrix(const std::string& name, int64_t rows, int64_t cols) {
    const Tensor tensor = source_.get(name, {rows, cols});
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
        matrix.scales = scales(name + "_scale_inv", blocks_of(rows), blocks_of(cols));
        matrix.scale_stride = blocks_of(cols);
        break;
      default:
        refuse_format(name, tensor.dtype);
    }
    return matrix;
  }

  // A copy whose rows follow each other without gaps.
  [[nodiscard]] Matrix side_by_side(Matrix part) {
    const int64_t row_bytes = bytes_of(part, part.cols);
    const int64_t stride_bytes = bytes_of(part, part.stride);
    std::byte* to = new_copy(part.rows * row_bytes);
    pool_.for_each(part.rows, [&](int64_t row) {
      std::memcpy(to + row * row_bytes, part.data + row * stride_bytes, static_cast<size_t>(row_bytes));
    });
    part.data = to;
    part.stride = part.cols;
    return part;
  }

  // A copy in the order of tiles.
  [[nodiscard]] Matrix tiled(Matrix part) {
    std::byte* to = new_copy(amx::tiled_bytes(part));
    const auto words = static_cast<size_t>(amx::tiled_units(part));
    uint64_t* rare = model_.rare_lines.emplace_back(std::make_unique_for_overwrite<uint64_t[]>(words)).get();
    pool_.for_each((part.rows + amx::kUnitRows - 1) / amx::kUnitRows,
                   [&](int64_t unit) { amx::tile_rows(part, unit * amx::kUnitRows, to, rare); });
    part.format = Matrix::Format::kTiledFP8;
    part.data = to;
    part.rare_lines = rare;
    return part;
  }

  // For a slice of FP8 columns that begins where kernels cannot: its weights in float32, the same values.
  [[nodiscard]] Matrix unpacked(const Matrix& whole, Slice rows, Slice cols) {
    auto* to = reinterpret_cast<float*>(new_copy(rows.size() * cols.size() * int64_t{sizeof(float)}));
    std::vector<float> row_values(static_cast<size_t>(whole.cols));
    for (int64_t row = 0; row < rows.size(); ++row) {
      copy_row(whole, rows.begin + row, row_values.data());
      std::copy_n(row_values.data() + cols.begin, cols.size(), to + row * cols.size());
    }
    return float_matrix(to, rows.size(), cols.size(), cols.size());
  }

  [[nodiscard]] std::byte* new_copy(int64_t bytes) {
    try {
      return model_.matrices.allocate(bytes);
    } catch (const std::bad_alloc&) {
      throw WeightsError(fmt::format("there is no memory for the model: {} bytes for one more matrix", bytes));
    }
  }

  [[noreturn]] static void refuse_format(const std::string& name, DType dtype) {
    throw WeightsError(fmt::format("tensor {}: {} weights are not supported", name, weights::name_of(dtype)));
  }

  void check_codes(const std::string& name, const Matrix& part) {
    std::atomic<bool> has_nan = false;
    pool_.for_each(part.rows, [&](int64_t row) {
      int found = 0;
      for (const std::byte code : std::span(part.data + row * part.stride, static_cast<size_t>(part.cols))) {
        found |= static_cast<int>((code & std::byte{0x7F}) == std::byte{0x7F});
      }
      if (found != 0) has_nan.store(true, std::memory_order_relaxed);
    });
    if (has_nan) throw WeightsError(fmt::format("tensor {}: holds NaN", name));
  }

  [[nodiscard]] const float* scales(const std::string& name, int64_t rows, int64_t cols) {
    const Tensor tensor = source_.get(name, {rows, cols});
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
  const RankSlices& slices_;
  weights::TensorSource& source_;
  ThreadPool& pool_;
  ModelWeights& model_;
};

}  // namespace

ModelWeights load_weights(const ModelConfig& config, const WeightsWanted& wanted,
                          std::unique_ptr<weights::TensorSource> source, ThreadPool& pool,
                          const std::function<void(double)>& progress) {
  ModelWeights model;
  model.slices = slices_of(config, wanted.rank, wanted.ranks);
  Loader loader(config, *source, pool, model);
  model.embedding =
      loader.matrix("model.embed_tokens.weight", config.vocab_size, config.hidden_size, Loader::Order::kRows);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    if (progress) progress(static_cast<double>(i) / static_cast<double>(config.num_hidden_layers));
    model.layers.push_back(loader.layer(i));
  }
  model.norm = loader.vector("model.norm.weight", config.hidden_size);
  const Slice vocabulary = model.slices.vocabulary;
  model.head = config.tie_word_embeddings
                   ? model.embedding.part(vocabulary.begin, vocabulary.size(), 0, config.hidden_size)
                   : loader.row_slice("lm_head.weight", config.vocab_size, vocabulary, config.hidden_size);
  if (wanted.draft) model.draft = loader.draft();
  if (progress) progress(1);
  return model;
}

}  // namespace bellwether::engine::cpu
