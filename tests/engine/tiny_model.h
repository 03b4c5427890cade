// A model of a few thousand synthetic weights that has every part of the architecture, and engines around it.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "engine/cpu/cpu_forward.h"
#include "engine/cpu/model_weights.h"
#include "engine/engine_loop.h"
#include "engine/model_config.h"
#include "engine/recording_forward.h"
#include "weights/synthetic.h"

namespace bellwether::engine {

inline ModelConfig tiny_config() {
  ModelConfig config;
  config.vocab_size = 61;
  config.hidden_size = 40;
  config.intermediate_size = 56;
  config.moe_intermediate_size = 24;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 3;
  config.n_shared_experts = 1;
  config.n_routed_experts = 8;
  config.num_experts_per_tok = 3;
  config.n_group = 4;
  config.topk_group = 2;
  config.first_k_dense_replace = 1;
  config.routed_scaling_factor = 2.5;
  config.q_lora_rank = 24;
  config.kv_lora_rank = 36;
  config.qk_nope_head_dim = 12;
  config.qk_rope_head_dim = 8;
  config.v_head_dim = 20;
  config.yarn = YarnConfig{.factor = 4, .original_context = 128, .mscale = 1, .mscale_all_dim = 1};
  config.max_position_embeddings = 512;
  config.fp8_weights = true;
  return config;
}

inline std::unique_ptr<Forward> make_forward(const ModelConfig& config, const EngineOptions& resolved,
                                             std::unique_ptr<weights::TensorSource> source) {
  auto pool = std::make_unique<cpu::ThreadPool>(resolved.threads);
  auto weights = cpu::load_weights(config, {}, std::move(source), *pool, {});
  return std::make_unique<cpu::CpuForward>(config, std::move(weights), std::move(pool), resolved.kv_blocks);
}

inline std::unique_ptr<Forward> synthetic_forward(const ModelConfig& config, const EngineOptions& resolved) {
  return make_forward(config, resolved, weights::make_synthetic_source(config.fp8_weights));
}

// An engine whose forward pass keeps all logits.
struct RecordedLoop {
  RecordedLoop(const ModelConfig& config, const EngineOptions& options, std::unique_ptr<weights::TensorSource> source) {
    const EngineOptions resolved = resolve(options, config);
    auto recording =
        std::make_unique<RecordingForward>(make_forward(config, resolved, std::move(source)), config.vocab_size);
    forward = recording.get();
    loop = std::make_unique<EngineLoop>(config, resolved, std::move(recording));
  }
  RecordedLoop(const ModelConfig& config, const EngineOptions& options)
      : RecordedLoop(config, options, weights::make_synthetic_source(config.fp8_weights)) {}

  RecordingForward* forward;
  std::unique_ptr<EngineLoop> loop;
};

}  // namespace bellwether::engine
