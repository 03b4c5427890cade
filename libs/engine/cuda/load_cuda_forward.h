// load_forward.h's part for GPUs.
#pragma once

#include <functional>
#include <memory>

#include "engine/engine.h"
#include "engine/forward.h"
#include "engine/model_config.h"
#include "weights/tensor_source.h"

namespace bellwether::engine::cuda {

// Throws weights::WeightsError, or ConfigError for a GPU that is not there, is no Hopper, or has too little memory.
// REQUIRES: `options` are resolved and name a GPU.
[[nodiscard]] std::unique_ptr<RankForward> load_cuda_forward(const ModelConfig& config, const EngineOptions& options,
                                                             weights::TensorSource& source,
                                                             const std::function<void(double)>& progress);

}  // namespace bellwether::engine::cuda
