#include "worker/group_options.h"

#include <fmt/format.h>

#include <cstdint>
#include <string_view>

#include "engine/engine_options.h"
#include "mesh/card_digest.h"
#include "mesh/error.h"
#include "worker/model_card.h"

namespace bellwether::worker {
namespace {

constexpr uint64_t kCountMax = 1 << 30;  // as the settings have it

template <class Count>
Count checked(std::string_view name, uint64_t count) {
  if (count > kCountMax) {
    throw mesh::Error(mesh::ErrorCode::kInvalidArgument, fmt::format("the head's {} is {}", name, count));
  }
  return static_cast<Count>(count);
}

}  // namespace

v1::GroupOptions group_options_of(const engine::EngineOptions& options) {
  v1::GroupOptions group;
  group.set_kv_blocks(static_cast<uint64_t>(options.kv_blocks));
  group.set_batch_tokens_max(static_cast<uint32_t>(options.batch_tokens_max));
  group.set_sequences_max(static_cast<uint32_t>(options.sequences_max));
  group.set_draft_tokens(static_cast<uint32_t>(options.draft_tokens));
  group.set_context_tokens_max(static_cast<uint64_t>(options.context_tokens_max));
  group.set_deterministic(options.deterministic);
  return group;
}

engine::EngineOptions engine_options(const v1::GroupOptions& options, const WorkerSettings& settings) {
  return {.gpu = engine::gpu_of(settings.device),
          .deterministic = options.deterministic(),
          .gpu_memory_utilization = settings.gpu_memory_utilization,
          .threads = static_cast<int>(settings.threads),
          .sequences_max = checked<int>("sequences_max", options.sequences_max()),
          .kv_blocks = checked<int64_t>("kv_blocks", options.kv_blocks()),
          .batch_tokens_max = checked<int>("batch_tokens_max", options.batch_tokens_max()),
          .context_tokens_max = checked<int64_t>("context_tokens_max", options.context_tokens_max()),
          .draft_tokens = checked<int>("draft_tokens", options.draft_tokens()),
          .ranks = static_cast<int>(settings.ranks),
          .rank = static_cast<int>(settings.rank)};
}

std::string config_digest(const std::filesystem::path& folder) {
  const v1::ModelCard files = read_card_files(folder, false);
  v1::ModelCard config;
  config.set_config_json(files.config_json());
  return mesh::card_digest(config);
}

}  // namespace bellwether::worker
