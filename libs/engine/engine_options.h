// What EngineOptions become for a model.
#pragma once

#include <optional>
#include <string_view>

#include "engine/engine.h"
#include "engine/model_config.h"

namespace bellwether::engine {

// EngineOptions::gpu of a device's name: "cpu", or "cuda:N". Throws ConfigError for anything else.
[[nodiscard]] std::optional<int> gpu_of(std::string_view device);

// `options` with every 0 resolved for `config`, but for the kv_blocks of a GPU, which its memory decides. Throws
// ConfigError that names an option that cannot be used.
[[nodiscard]] EngineOptions resolve(const EngineOptions& options, const ModelConfig& config);

}  // namespace bellwether::engine
