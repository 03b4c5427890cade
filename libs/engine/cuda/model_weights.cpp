#include "engine/cuda/model_weights.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/cuda/kernels.h"
#include "engine/cuda/tensor_upload.h"

namespace bellwether::engine::cuda {
namespace {

// The projections of one MLP, of which this rank has `inner`.
struct MlpParts {
  TensorPart gate;
  TensorPart up;
  TensorPart down;

  [[nodiscard]] Slice inner() const { return gate.rows; }
};

// Its inner values [begin, end) of what the parts have.
MlpParts piece(MlpParts parts, int64_t begin, int64_t end) {
  const Slice all = parts.inner();
  const Slice inner{std::min(all.end, all.begin + begin), std::min(all.end, all.begin + end)};
  parts.gate.rows = inner;
  parts.up.rows = inner;
  parts.down.cols = inner;
  return parts;
}

class Loader {
 public:
  Loader(const ModelConfig& config, ModelWeights& model, weights::TensorSource& source)
      : config_(config), slices_(model.slices), model_(model), upload_(source, config.fp8_weights, stream_.get()) {}

  [[nodiscard]] const float* vector(const std::string& name, int64_t size) {
    const std::vector<float> values = upload_.vector(name, size);
    auto* to = memory<float>(size);
    upload_.put_floats(values.data(), size, to);
    return to;
  }

  [[nodiscard]] const __nv_bfloat16* values(const TensorPart& part) {
    auto* to = memory<__nv_bfloat16>(part.rows.size() * part.cols.size());
    upload_.put_bf16(part, to);
    return to;
  }

  [[nodiscard]] Linear bf16_linear(const TensorPart& part) {
    return {.rows = part.rows.size(), .cols = part.cols.size(), .values = values(part)};
  }

  // The parts one below another: they have the same columns.
  [[nodiscard]] Linear linear(const std::vector<TensorPart>& parts) {
    Linear stacked{.cols = parts[0].cols.size()};
    bool is_fp8 = true;
    for (const TensorPart& part : parts) {
      is_fp8 = is_fp8 && stacked.rows % kTile == 0 && is_on_blocks(part);
      stacked.rows += part.rows.size();
    }
    is_fp8 = is_fp8 && stacked.rows % kRowsUnit == 0;
    if (!is_fp8) {
      auto* to = memory<__nv_bfloat16>(stacked.rows * stacked.cols);
      stacked.values = to;
      for (const TensorPart& part : parts) {
        upload_.put_bf16(part, to);
        to += part.rows.size() * stacked.cols;
      }
      return stacked;
    }
    stacked.fp8 = {.rows = stacked.rows, .cols = stacked.cols};
    auto* tiles = memory<uint8_t>(stacked.fp8.tiles_bytes());
    std::vector<float> scales;
    int64_t row = 0;
    for (const TensorPart& part : parts) {
      put_tiles(part, tiles + stacked.fp8.offset(row, 0), 1);
      for (const std::vector<float>& of_row : tile_scales(part)) {
        scales.insert(scales.end(), of_row.begin(), of_row.end());
      }
      row += part.rows.size();
    }
    stacked.fp8.tiles = tiles;
    stacked.fp8.scales = put(scales);
    return stacked;
  }

  [[nodiscard]] AttentionWeights attention(const std::string& prefix) {
    const int64_t hidden = config_.hidden_size;
    const int64_t rank = config_.q_lora_rank;
    const auto of_heads = [&](int64_t size) { return Slice{slices_.heads.begin * size, slices_.heads.end * size}; };
    const auto head_rows = [&](const char* name, int64_t size, int64_t cols) {
      return TensorPart{prefix + name, config_.num_attention_heads * size, of_heads(size), cols, {0, cols}};
    };
    AttentionWeights attention;
    std::vector<TensorPart> qkv;
    if (rank > 0) {
      qkv.push_back(whole(prefix + "q_a_proj.weight", rank, hidden));
      attention.q_norm = vector(prefix + "q_a_layernorm.weight", rank);
      attention.q = linear({head_rows("q_b_proj.weight", config_.qk_head_dim(), rank)});
    } else {
      attention.q = linear({head_rows("q_proj.weight", config_.qk_head_dim(), hidden)});
    }
    qkv.push_back(whole(prefix + "kv_a_proj_with_mqa.weight", config_.latent_dim(), hidden));
    attention.qkv = linear(qkv);
    attention.kv_norm = vector(prefix + "kv_a_layernorm.weight", config_.kv_lora_rank);
    attention.kv_b =
        values(head_rows("kv_b_proj.weight", config_.qk_nope_head_dim + config_.v_head_dim, config_.kv_lora_rank));
    const LatentShape shape{.heads = slices_.heads.size(),
                            .latent = config_.kv_lora_rank,
                            .rope = config_.qk_rope_head_dim,
                            .nope = config_.qk_nope_head_dim,
                            .v = config_.v_head_dim};
    auto* keys = memory<__nv_bfloat16>(shape.heads * shape.latent * shape.nope);
    transpose_keys(shape, attention.kv_b, keys, stream_.get());
    attention.keys = keys;
    attention.o = linear({{prefix + "o_proj.weight",
                           hidden,
                           {0, hidden},
                           config_.num_attention_heads * config_.v_head_dim,
                           of_heads(config_.v_head_dim)}});
    return attention;
  }

  [[nodiscard]] LayerWeights layer(int64_t index) {
    const std::string prefix = fmt::format("model.layers.{}.", index);
    LayerWeights layer;
    layer.input_norm = vector(prefix + "input_layernorm.weight", config_.hidden_size);
    layer.attention = attention(prefix + "self_attn.");
    layer.post_attention_norm = vector(prefix + "post_attention_layernorm.weight", config_.hidden_size);
    if (!config_.is_moe_layer(index)) {
      layer.mlp = mlps({parts_of(prefix + "mlp.", config_.intermediate_size, slices_.dense)}, 1);
      return layer;
    }
    const int64_t experts = config_.n_routed_experts;
    layer.router = bf16_linear(whole(prefix + "mlp.gate.weight", experts, config_.hidden_size));
    layer.router_bias = vector(prefix + "mlp.gate.e_score_correction_bias", experts);
    std::vector<MlpParts> all;
    for (int64_t e = 0; e < experts; ++e) {
      all.push_back(
          parts_of(fmt::format("{}mlp.experts.{}.", prefix, e), config_.moe_intermediate_size, slices_.expert));
    }
    // The shared experts are one MLP, cut over the ranks as a whole: of this rank's part as many pieces, as there are.
    const int64_t shared = config_.n_shared_experts;
    if (shared > 0) {
      const MlpParts parts =
          parts_of(prefix + "mlp.shared_experts.", shared * config_.moe_intermediate_size, slices_.shared);
      const int64_t each = std::max(slices_.expert.size(), ceil_div(parts.inner().size(), shared));
      for (int64_t i = 0; i < shared; ++i) all.push_back(piece(parts, i * each, (i + 1) * each));
    }
    layer.mlp = mlps(all, shared);
    return layer;
  }

  [[nodiscard]] DraftWeights draft() {
    const int64_t hidden = config_.hidden_size;
    const std::string prefix = fmt::format("model.layers.{}.", config_.num_hidden_layers);
    return {.embedding_norm = vector(prefix + "enorm.weight", hidden),
            .hidden_norm = vector(prefix + "hnorm.weight", hidden),
            .input = bf16_linear({prefix + "eh_proj.weight", hidden, {0, hidden}, 2 * hidden, slices_.draft_input}),
            .layer = layer(config_.num_hidden_layers),
            .norm = vector(prefix + "shared_head.norm.weight", hidden)};
  }

  void finish() { stream_.wait(); }

 private:
  static constexpr int64_t kRowsUnit = 8;  // of an FP8 product's outputs

  template <class T>
  [[nodiscard]] T* memory(int64_t count) {
    const int64_t bytes = count * int64_t{sizeof(T)};
    model_.bytes += bytes;
    return reinterpret_cast<T*>(model_.memory.emplace_back(bytes).get());
  }

  [[nodiscard]] const float* put(const std::vector<float>& values) {
    auto* to = memory<float>(std::ssize(values));
    upload_.put_floats(values.data(), std::ssize(values), to);
    return to;
  }

  [[nodiscard]] bool is_on_blocks(const TensorPart& part) {
    return part.rows.begin % kTile == 0 && part.cols.begin % kTile == 0 && upload_.format_of(part) == Format::kFP8;
  }

  void put_tiles(const TensorPart& part, uint8_t* tiles, int64_t tile_row_stride) {
    uint8_t* staged = upload_.staging(part.rows.size() * part.cols.size());
    upload_.put(part, staged);
    tile_codes(staged, part.rows.size(), part.cols.size(), part.cols.size(), tiles, tile_row_stride, stream_.get());
  }

  // Of a part that lies on blocks: row of tiles after row of tiles.
  [[nodiscard]] std::vector<std::vector<float>> tile_scales(const TensorPart& part) {
    const std::vector<float> all = upload_.scales(part);
    const int64_t stride = ceil_div(part.all_cols, kTile);
    std::vector<std::vector<float>> rows;
    for (int64_t row = part.rows.begin / kTile; row < ceil_div(part.rows.end, kTile); ++row) {
      const auto begin = all.begin() + row * stride + part.cols.begin / kTile;
      rows.emplace_back(begin, begin + ceil_div(part.cols.size(), kTile));
    }
    return rows;
  }

  [[nodiscard]] MlpParts parts_of(const std::string& prefix, int64_t all, Slice inner) const {
    const int64_t hidden = config_.hidden_size;
    return {.gate = {prefix + "gate_proj.weight", all, inner, hidden, {0, hidden}},
            .up = {prefix + "up_proj.weight", all, inner, hidden, {0, hidden}},
            .down = {prefix + "down_proj.weight", hidden, {0, hidden}, all, inner}};
  }

  [[nodiscard]] MlpWeights mlps(const std::vector<MlpParts>& all, int64_t every_row) {
    int64_t inner = 0;
    for (const MlpParts& parts : all) inner = std::max(inner, parts.inner().size());
    const bool is_fp8 = std::ranges::all_of(all, [&](const MlpParts& parts) {
      return ceil_div(parts.inner().size(), kTile) == ceil_div(inner, kTile) && is_on_blocks(parts.gate) &&
             is_on_blocks(parts.up) && is_on_blocks(parts.down);
    });
    MlpWeights mlp{.every_row = every_row};
    if (is_fp8)
      mlp.fp8 = fp8_experts(all, inner);
    else
      mlp.values = bf16_experts(all, inner);
    return mlp;
  }

  [[nodiscard]] Experts fp8_experts(const std::vector<MlpParts>& all, int64_t inner) {
    Experts experts{.experts = std::ssize(all), .hidden = config_.hidden_size, .inner = inner};
    const int64_t hidden_tiles = ceil_div(experts.hidden, kTile);
    const int64_t tiles = experts.inner_tiles() * hidden_tiles;  // of one projection
    auto* gate_up = memory<uint8_t>(experts.experts * 2 * tiles * kTileBytes);
    auto* down = memory<uint8_t>(experts.experts * tiles * kTileBytes);
    std::vector<float> gate_up_scales;
    std::vector<float> down_scales;
    for (const MlpParts& parts : all) {
      put_tiles(parts.gate, gate_up, 2);
      put_tiles(parts.up, gate_up + hidden_tiles * kTileBytes, 2);
      put_tiles(parts.down, down, 1);
      gate_up += 2 * tiles * kTileBytes;
      down += tiles * kTileBytes;
      const auto of_gate = tile_scales(parts.gate);
      const auto of_up = tile_scales(parts.up);
      for (size_t i = 0; i < of_gate.size(); ++i) {
        gate_up_scales.insert(gate_up_scales.end(), of_gate[i].begin(), of_gate[i].end());
        gate_up_scales.insert(gate_up_scales.end(), of_up[i].begin(), of_up[i].end());
      }
      for (const auto& row : tile_scales(parts.down)) down_scales.insert(down_scales.end(), row.begin(), row.end());
    }
    experts.gate_up = gate_up - experts.experts * 2 * tiles * kTileBytes;
    experts.down = down - experts.experts * tiles * kTileBytes;
    experts.gate_up_scales = put(gate_up_scales);
    experts.down_scales = put(down_scales);
    return experts;
  }

  // Experts of fewer inner values than the largest are filled up with zeros, which add nothing.
  [[nodiscard]] Bf16Experts bf16_experts(const std::vector<MlpParts>& all, int64_t inner) {
    Bf16Experts experts{.experts = std::ssize(all), .hidden = config_.hidden_size, .inner = inner};
    const int64_t projection = inner * experts.hidden;
    auto* gate_up = memory<__nv_bfloat16>(experts.experts * 2 * projection);
    auto* down = memory<__nv_bfloat16>(experts.experts * projection);
    for (__nv_bfloat16* to : {gate_up, down}) {
      const int64_t projections = to == gate_up ? 2 * experts.experts : experts.experts;
      check(
          cudaMemsetAsync(to, 0, static_cast<size_t>(projections * projection) * sizeof(__nv_bfloat16), stream_.get()),
          "cudaMemsetAsync");
    }
    experts.gate_up = gate_up;
    experts.down = down;
    for (const MlpParts& parts : all) {
      const int64_t own = parts.inner().size();
      upload_.put_bf16(parts.gate, gate_up);
      upload_.put_bf16(parts.up, gate_up + projection);
      put_columns(parts.down, down, inner, own);
      gate_up += 2 * projection;
      down += projection;
    }
    return experts;
  }

  // The part, of `own` columns, as rows of `width`.
  void put_columns(const TensorPart& part, __nv_bfloat16* to, int64_t width, int64_t own) {
    if (own == width) return upload_.put_bf16(part, to);
    if (own == 0) return;
    DeviceArray<__nv_bfloat16> packed(part.rows.size() * own);
    upload_.put_bf16(part, packed.get());
    constexpr size_t kElement = sizeof(__nv_bfloat16);
    check(cudaMemcpy2DAsync(to, static_cast<size_t>(width) * kElement, packed.get(),
                            static_cast<size_t>(own) * kElement, static_cast<size_t>(own) * kElement,
                            static_cast<size_t>(part.rows.size()), cudaMemcpyDeviceToDevice, stream_.get()),
          "cudaMemcpy2DAsync");
    stream_.wait();
  }

  const ModelConfig& config_;
  const RankSlices& slices_;
  ModelWeights& model_;
  Stream stream_;
  TensorUpload upload_;
};

void refuse_unfit(const ModelConfig& config, const RankSlices& slices) {
  const auto require_multiple = [](const char* name, int64_t value, int64_t of) {
    if (value % of != 0) throw ConfigError(fmt::format("{} is {}: a GPU needs a multiple of {}", name, value, of));
  };
  require_multiple("hidden_size", config.hidden_size, 8);
  require_multiple("q_lora_rank", config.q_lora_rank, 4);
  require_multiple("kv_lora_rank", config.kv_lora_rank, 4);
  require_multiple("qk_rope_head_dim", config.qk_rope_head_dim, 4);
  if (slices.heads.size() == 0 || slices.dense.size() == 0 || slices.vocabulary.size() == 0 ||
      (config.n_routed_experts > 0 && slices.expert.size() == 0)) {
    throw ConfigError(fmt::format("ranks is {}: too many for a GPU to have a part of every layer", slices.ranks));
  }
}

}  // namespace

ModelWeights load_weights(const ModelConfig& config, const WeightsWanted& wanted, weights::TensorSource& source,
                          const std::function<void(double)>& progress) {
  ModelWeights model;
  model.slices = slices_of(config, wanted.rank, wanted.ranks);
  refuse_unfit(config, model.slices);
  Loader loader(config, model, source);
  const TensorPart embedding = whole("model.embed_tokens.weight", config.vocab_size, config.hidden_size);
  model.embedding = loader.values(embedding);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    if (progress) progress(static_cast<double>(i) / static_cast<double>(config.num_hidden_layers));
    model.layers.push_back(loader.layer(i));
  }
  model.norm = loader.vector("model.norm.weight", config.hidden_size);
  TensorPart head = whole("lm_head.weight", config.vocab_size, config.hidden_size);
  head.rows = model.slices.vocabulary;
  if (config.tie_word_embeddings) {
    model.head = {.rows = head.rows.size(),
                  .cols = config.hidden_size,
                  .values = model.embedding + head.rows.begin * config.hidden_size};
  } else {
    model.head = loader.bf16_linear(head);
  }
  if (wanted.draft) model.draft = loader.draft();
  loader.finish();
  if (progress) progress(1);
  return model;
}

}  // namespace bellwether::engine::cuda
