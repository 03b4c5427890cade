// A config.json is untrusted: any bytes are either refused with ConfigError or give sizes that the engine can work
// with.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "engine/model_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto config = bellwether::engine::parse_model_config({reinterpret_cast<const char*>(data), size});
    const bool usable = config.vocab_size > 0 && config.hidden_size > 0 && config.num_attention_heads > 0 &&
                        config.qk_rope_head_dim % 2 == 0 && config.max_position_embeddings > 0 &&
                        config.num_experts_per_tok <= config.n_routed_experts && config.n_group > 0 &&
                        config.n_routed_experts % config.n_group == 0 && config.topk_group <= config.n_group;
    if (!usable) std::abort();
  } catch (const bellwether::engine::ConfigError&) {
  }
  return 0;
}
