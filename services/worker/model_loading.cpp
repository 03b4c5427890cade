#include "worker/model_loading.h"

#include <algorithm>

#include "worker/model_card.h"

namespace bellwether::worker {

ModelFacts facts_of(const engine::Engine& engine) {
  const engine::EngineOptions& options = engine.options();
  return {.vocab_size = engine.config().vocab_size,
          .eos_ids = engine.config().eos_token_ids,
          .sequences_max = options.sequences_max,
          .waiting_max = options.waiting_max,
          .kv_blocks_total = options.kv_blocks,
          .kv_block_tokens = engine.kv_block_tokens(),
          .context_tokens_max = std::min(options.context_tokens_max, options.kv_blocks * engine.kv_block_tokens())};
}

v1::Capacity capacity_of(const ModelFacts& facts) {
  v1::Capacity capacity;
  capacity.set_sequences_max(static_cast<uint32_t>(facts.sequences_max));
  capacity.set_waiting_max(static_cast<uint32_t>(facts.waiting_max));
  capacity.set_kv_blocks_total(static_cast<uint32_t>(facts.kv_blocks_total));
  capacity.set_kv_block_tokens(static_cast<uint32_t>(facts.kv_block_tokens));
  capacity.set_context_tokens_max(static_cast<uint32_t>(facts.context_tokens_max));
  return capacity;
}

LoadedModel load_model(const WorkerSettings& settings, const std::function<void(double)>& progress) {
  const bool synthetic = settings.load_format == "synthetic";
  LoadedModel loaded;
  loaded.card = read_card_files(settings.model, !synthetic);
  const engine::EngineOptions options = engine_options(settings);
  loaded.engine = synthetic ? engine::Engine::synthetic(engine::parse_model_config(loaded.card.config_json()), options)
                            : engine::Engine::load(settings.model, options, progress);
  loaded.card.set_model(settings.served_model_name);
  loaded.card.set_chat_format(settings.chat_format);
  loaded.card.set_context_tokens_max(static_cast<uint32_t>(facts_of(*loaded.engine).context_tokens_max));
  return loaded;
}

std::unique_ptr<engine::Follower> load_follower(const WorkerSettings& settings, const engine::EngineOptions& options,
                                                const std::function<void(double)>& progress) {
  if (settings.load_format != "synthetic") return engine::Follower::load(settings.model, options, progress);
  const v1::ModelCard files = read_card_files(settings.model, false);
  return engine::Follower::synthetic(engine::parse_model_config(files.config_json()), options);
}

}  // namespace bellwether::worker
