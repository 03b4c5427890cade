// What all ranks of a replica must agree on, and how it travels.
#pragma once

#include <filesystem>
#include <string>

#include "bellwether/v1/replica.pb.h"
#include "engine/engine.h"
#include "worker/settings.h"

namespace bellwether::worker {

[[nodiscard]] v1::GroupOptions group_options_of(const engine::EngineOptions& options);

// A follower's. Throws mesh::Error{kInvalidArgument} for what no head would say.
[[nodiscard]] engine::EngineOptions engine_options(const v1::GroupOptions& options, const WorkerSettings& settings);

// SHA-256, hex, of the folder's config.json. Throws mesh::Error{kInvalidArgument} when it cannot be read. Blocks.
[[nodiscard]] std::string config_digest(const std::filesystem::path& folder);

}  // namespace bellwether::worker
