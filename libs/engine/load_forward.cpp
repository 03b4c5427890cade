#include "engine/load_forward.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <new>
#include <utility>

#include "engine/cpu/cpu_forward.h"
#include "engine/cpu/model_weights.h"
#include "engine/cpu/thread_pool.h"

namespace bellwether::engine {
namespace {

constexpr std::streamsize kConfigBytesMax = 1 << 20;

}  // namespace

ModelConfig load_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  std::ifstream file(path, std::ios::binary);
  if (!file) throw ConfigError(fmt::format("{}: cannot be read", path.string()));
  std::string text(kConfigBytesMax + 1, '\0');
  file.read(text.data(), std::ssize(text));
  if (file.gcount() > kConfigBytesMax) throw ConfigError(fmt::format("{}: is larger than 1 MiB", path.string()));
  text.resize(static_cast<size_t>(file.gcount()));
  return parse_model_config(text);
}

std::unique_ptr<RankForward> load_forward(const ModelConfig& config, const EngineOptions& options,
                                          std::unique_ptr<weights::TensorSource> source,
                                          const std::function<void(double)>& progress) {
  auto pool = std::make_unique<cpu::ThreadPool>(options.threads);
  const cpu::WeightsWanted wanted{.rank = options.rank, .ranks = options.ranks, .draft = options.draft_tokens > 0};
  cpu::ModelWeights weights = cpu::load_weights(config, wanted, std::move(source), *pool, progress);
  try {
    return std::make_unique<cpu::CpuForward>(config, std::move(weights), std::move(pool), options.kv_blocks);
  } catch (const std::bad_alloc&) {
    throw ConfigError(fmt::format("kv_blocks is {}: a cache of that size does not fit memory", options.kv_blocks));
  }
}

}  // namespace bellwether::engine
