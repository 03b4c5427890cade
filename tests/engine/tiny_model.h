// A model of a few thousand synthetic weights that has every part of the architecture, and engines around it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine_loop.h"
#include "engine/flock.h"
#include "engine/load_forward.h"
#include "engine/model_config.h"
#include "engine/recording_forward.h"
#include "weights/safetensors.h"
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

// Of the demo model when there is a folder, else of made-up weights; cut over options.ranks.
inline std::unique_ptr<Forward> make_forward(const ModelConfig& config, const EngineOptions& resolved,
                                             const std::string& folder = "") {
  auto source = folder.empty() ? weights::make_synthetic_source(config.fp8_weights) : weights::open_safetensors(folder);
  auto head = load_forward(config, resolved, std::move(source), {});
  if (resolved.ranks == 1) return head;
  return std::make_unique<Flock>(std::move(head), resolved, [&](const EngineOptions& options) {
    return folder.empty() ? Follower::synthetic(config, options) : Follower::load(folder, options);
  });
}

// An engine whose forward pass keeps all logits.
struct RecordedLoop {
  RecordedLoop(const ModelConfig& config, const EngineOptions& options, const std::string& folder = "") {
    const EngineOptions resolved = resolve(options, config);
    auto recording = std::make_unique<RecordingForward>(make_forward(config, resolved, folder), config.vocab_size);
    forward = recording.get();
    loop = std::make_unique<EngineLoop>(config, resolved, std::move(recording));
  }

  RecordingForward* forward;
  std::unique_ptr<EngineLoop> loop;
};

}  // namespace bellwether::engine
