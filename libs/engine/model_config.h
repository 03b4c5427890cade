// What config.json says about a model of the deepseek_v3 architecture (V3, R1, V3.1, Kimi K2, Moonlight).
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace bellwether::engine {

// A config.json that this engine cannot run, or that contradicts itself; the message names the key.
class ConfigError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// YaRN: rotary frequencies stretched to a longer context (arxiv.org/abs/2309.00071).
struct YarnConfig {
  double factor = 1;
  int64_t original_context = 4096;  // tokens
  double beta_fast = 32;
  double beta_slow = 1;
  double mscale = 1;
  double mscale_all_dim = 0;
};

// Names are config.json's where the meaning is the same.
struct ModelConfig {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;      // of a dense layer's MLP
  int64_t moe_intermediate_size = 0;  // of one expert
  int64_t num_hidden_layers = 0;
  int64_t num_nextn_predict_layers = 0;  // multi-token-prediction layers after the main ones
  int64_t num_attention_heads = 0;
  int64_t n_shared_experts = 0;
  int64_t n_routed_experts = 0;
  int64_t num_experts_per_tok = 0;
  int64_t n_group = 1;
  int64_t topk_group = 1;
  int64_t moe_layer_freq = 1;
  int64_t first_k_dense_replace = 0;
  double routed_scaling_factor = 1;
  bool norm_topk_prob = true;
  int64_t q_lora_rank = 0;  // 0 = a plain q_proj
  int64_t kv_lora_rank = 0;
  int64_t qk_nope_head_dim = 0;
  int64_t qk_rope_head_dim = 0;
  int64_t v_head_dim = 0;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000;
  std::optional<YarnConfig> yarn;
  int64_t max_position_embeddings = 0;  // tokens of context
  bool tie_word_embeddings = false;
  std::vector<int32_t> eos_token_ids;
  bool fp8_weights = false;  // F8_E4M3 with weight_scale_inv of 128x128 blocks

  [[nodiscard]] int64_t qk_head_dim() const { return qk_nope_head_dim + qk_rope_head_dim; }
  [[nodiscard]] int64_t latent_dim() const {
    return kv_lora_rank + qk_rope_head_dim;
  }  // KV cache values per token and layer
  [[nodiscard]] bool is_moe_layer(int64_t layer) const {
    return n_routed_experts > 0 && layer >= first_k_dense_replace && layer % moe_layer_freq == 0;
  }
};

// Parses and checks config.json. Throws ConfigError for another architecture, a missing key, a size out of range, or
// something this engine does not compute (attention bias, other scoring functions, other activation).
[[nodiscard]] ModelConfig parse_model_config(std::string_view config_json);

}  // namespace bellwether::engine
