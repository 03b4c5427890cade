// From a model's files to the forward pass of one rank: what head and followers have in common.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "engine/engine.h"
#include "engine/forward.h"
#include "engine/model_config.h"
#include "weights/tensor_source.h"

namespace bellwether::engine {

// config.json of `folder`. Throws ConfigError.
[[nodiscard]] ModelConfig load_config(const std::filesystem::path& folder);

// The slices of rank options.rank. Throws weights::WeightsError, or ConfigError when the KV cache
// does not fit memory. REQUIRES: `options` are resolved (engine_loop.h).
[[nodiscard]] std::unique_ptr<RankForward> load_forward(const ModelConfig& config, const EngineOptions& options,
                                                        std::unique_ptr<weights::TensorSource> source,
                                                        const std::function<void(double)>& progress);

}  // namespace bellwether::engine
