#include "engine/load_forward.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <new>
#include <utility>

#include "engine/cpu/cpu_forward.h"
#include "engine/cpu/model_weights.h"
#include "engine/cpu/thread_pool.h"
#ifdef BELLWETHER_CUDA
#include "engine/cuda/load_cuda_forward.h"
#endif

namespace bellwether::engine {
namespace {

constexpr std::streamsize kConfigBytesMax = 1 << 20;

std::unique_ptr<RankForward> load_gpu_forward([[maybe_unused]] const ModelConfig& config, const EngineOptions& options,
                                              [[maybe_unused]] weights::TensorSource& source,
                                              [[maybe_unused]] const std::function<void(double)>& progress) {
#ifdef BELLWETHER_CUDA
  return cuda::load_cuda_forward(config, options, source, progress);
#else
  throw ConfigError(
      fmt::format("device is cuda:{}, but this program was built without CUDA (-DBELLWETHER_CUDA=ON)", *options.gpu));
#endif
}

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
  if (options.gpu) return load_gpu_forward(config, options, *source, progress);
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
