// From a model folder to an engine and the facts that the rest of the worker needs of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "bellwether/v1/mesh.pb.h"
#include "engine/engine.h"
#include "engine/follower.h"
#include "text/grammar/vocabulary.h"
#include "worker/settings.h"

namespace bellwether::worker {

// What does not change while an engine computes in one group. The engine itself belongs to its thread; these may be
// read anywhere.
struct ModelFacts {
  int64_t vocab_size = 0;
  std::vector<int32_t> eos_ids = {};
  int64_t sequences_max = 0;
  int64_t waiting_max = 0;
  int64_t kv_blocks_total = 0;
  int64_t kv_block_tokens = 0;
  int64_t context_tokens_max = 0;  // of one sequence: the engine's limit, or the whole KV cache if that is smaller
  std::optional<engine::GpuMemoryUse> gpu_memory = {};  // nothing on a CPU
};

[[nodiscard]] ModelFacts facts_of(const engine::Engine& engine);
[[nodiscard]] v1::Capacity capacity_of(const ModelFacts& facts);

struct LoadedModel {
  std::unique_ptr<engine::Engine> engine;
  v1::ModelCard card;  // complete but for its digest
  // For constraints; nullptr when the model has no tokenizer, or one that is not supported.
  std::shared_ptr<const text::grammar::Vocabulary> vocabulary = {};
};

// Blocks for as long as the weights take. `progress` gets 0 to 1 and may throw to give up. Throws what the files give
// cause to: mesh::Error, engine::ConfigError, weights::WeightsError.
[[nodiscard]] LoadedModel load_model(const WorkerSettings& settings, const std::function<void(double)>& progress);

// The same for a rank that is not the head.
[[nodiscard]] std::unique_ptr<engine::Follower> load_follower(const WorkerSettings& settings,
                                                              const engine::EngineOptions& options,
                                                              const std::function<void(double)>& progress);

}  // namespace bellwether::worker
