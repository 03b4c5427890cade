#include "worker/model_loading.h"

#include <algorithm>

#include "mesh/error.h"
#include "mesh/log.h"
#include "text/template_format.h"
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
          .context_tokens_max = std::min(options.context_tokens_max, options.kv_blocks * engine.kv_block_tokens()),
          .gpu_memory = engine.gpu_memory()};
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

namespace {

std::unique_ptr<engine::Engine> make_engine(const WorkerSettings& settings, const v1::ModelCard& card,
                                            const std::function<void(double)>& progress) {
  const engine::EngineOptions options = engine_options(settings);
  if (is_echo(settings)) {
    return engine::Engine::echo(
        engine::parse_model_config(card.config_json()), options,
        {.tokens_per_s = settings.echo_tokens_per_s, .prefill_tokens_per_s = settings.echo_prefill_tokens_per_s});
  }
  if (settings.load_format == "synthetic") {
    return engine::Engine::synthetic(engine::parse_model_config(card.config_json()), options);
  }
  return engine::Engine::load(settings.model, options, progress);
}

std::string chat_format_of(const WorkerSettings& settings, const v1::ModelCard& card) {
  try {
    return text::choose_chat_format(settings.chat_format, card.tokenizer_config_json());
  } catch (const text::TextError& error) {
    throw mesh::Error(mesh::ErrorCode::kInvalidArgument,
                      std::string(error.what()) + "; give --chat-format a built-in format, or none", "--chat-format");
  }
}

std::shared_ptr<const text::grammar::Vocabulary> make_vocabulary(const v1::ModelCard& card, int64_t vocab_size) {
  if (card.tokenizer_json().empty()) return nullptr;
  try {
    const text::Tokenizer tokenizer = text::Tokenizer::from_json(card.tokenizer_json());
    return std::make_shared<const text::grammar::Vocabulary>(tokenizer, vocab_size);
  } catch (const text::TextError& error) {
    mesh::log::warning("there will be no structured output", {{"tokenizer.json", error.what()}});
    return nullptr;
  }
}

}  // namespace

LoadedModel load_model(const WorkerSettings& settings, const std::function<void(double)>& progress) {
  LoadedModel loaded;
  loaded.card = read_card_files(settings.model, settings.load_format != "synthetic");
  loaded.card.set_chat_format(chat_format_of(settings, loaded.card));
  loaded.engine = make_engine(settings, loaded.card, progress);
  loaded.vocabulary = make_vocabulary(loaded.card, loaded.engine->config().vocab_size);
  loaded.card.set_model(settings.served_model_name);
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
