// What EngineOptions become for a model.
#pragma once

#include "engine/engine.h"
#include "engine/model_config.h"

namespace bellwether::engine {

// `options` with every 0 resolved for `config`. Throws ConfigError that names an option that cannot be used.
[[nodiscard]] EngineOptions resolve(const EngineOptions& options, const ModelConfig& config);

}  // namespace bellwether::engine
