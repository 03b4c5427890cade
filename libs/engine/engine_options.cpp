#include "engine/engine_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <type_traits>

#include "engine/cpu/thread_pool.h"
#include "engine/kv_blocks.h"

namespace bellwether::engine {
namespace {

constexpr int kThreadsMax = 1024;
constexpr int kRanksMax = 1024;
constexpr int kDraftTokensMax = 16;
constexpr int kSequencesMax = 1 << 16;
constexpr int64_t kBatchTokensMax = 1 << 20;
constexpr int64_t kKvBlocksMax = 1 << 26;
constexpr int64_t kKvBlocksDefaultMin = 512;

template <class T>
void check_range(const char* name, T value, std::type_identity_t<T> min, std::type_identity_t<T> max) {
  if (value < min || value > max) {
    throw ConfigError(fmt::format("{} is {}, outside {} to {}", name, value, min, max));
  }
}

}  // namespace

std::optional<int> gpu_of(std::string_view device) {
  if (device == "cpu") return std::nullopt;
  constexpr std::string_view kPrefix = "cuda:";
  int number = -1;
  if (device.starts_with(kPrefix)) {
    const char* end = device.data() + device.size();
    const auto [parsed, error] = std::from_chars(device.data() + kPrefix.size(), end, number);
    if (error == std::errc() && parsed == end && number >= 0) return number;
  }
  throw ConfigError(fmt::format("device is {}, which is neither cpu nor cuda:N", device));
}

EngineOptions resolve(const EngineOptions& options, const ModelConfig& config) {
  EngineOptions resolved = options;
  check_range("threads", options.threads, 0, kThreadsMax);
  check_range("sequences_max", options.sequences_max, 1, kSequencesMax);
  check_range("waiting_max", options.waiting_max, 0, kSequencesMax);
  check_range("batch_tokens_max", options.batch_tokens_max, 1, kBatchTokensMax);
  check_range("kv_blocks", options.kv_blocks, 0, kKvBlocksMax);
  check_range("context_tokens_max", options.context_tokens_max, 0, config.max_position_embeddings);
  check_range("ranks", options.ranks, 1, kRanksMax);
  check_range("rank", options.rank, 0, options.ranks - 1);
  check_range("draft_tokens", options.draft_tokens, 0, kDraftTokensMax);
  if (!(options.gpu_memory_utilization > 0 && options.gpu_memory_utilization <= 1)) {
    throw ConfigError(
        fmt::format("gpu_memory_utilization is {}: it must be above 0 and at most 1", options.gpu_memory_utilization));
  }
  if (config.num_nextn_predict_layers == 0) resolved.draft_tokens = 0;
  if (resolved.threads == 0) resolved.threads = std::min(cpu::usable_cpus(), kThreadsMax);
  if (resolved.context_tokens_max == 0) resolved.context_tokens_max = config.max_position_embeddings;
  if (resolved.kv_blocks == 0 && !options.gpu) {
    resolved.kv_blocks = std::max(kKvBlocksDefaultMin, 2 * blocks_for(resolved.context_tokens_max));
  }
  // More could not all advance in one step.
  resolved.sequences_max = static_cast<int>(std::min<int64_t>(resolved.sequences_max, resolved.batch_tokens_max));
  return resolved;
}

}  // namespace bellwether::engine
