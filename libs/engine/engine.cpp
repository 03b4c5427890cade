#include "engine/engine.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <new>
#include <utility>

#include "engine/cpu/cpu_forward.h"
#include "engine/cpu/model_weights.h"
#include "engine/cpu/thread_pool.h"
#include "engine/engine_loop.h"
#include "weights/safetensors.h"
#include "weights/synthetic.h"

namespace bellwether::engine {
namespace {

constexpr std::streamsize kConfigBytesMax = 1 << 20;

std::string read_config(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw ConfigError(fmt::format("{}: cannot be read", path.string()));
  std::string text(kConfigBytesMax + 1, '\0');
  file.read(text.data(), std::ssize(text));
  if (file.gcount() > kConfigBytesMax) throw ConfigError(fmt::format("{}: is larger than 1 MiB", path.string()));
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

}  // namespace

class Engine::Impl {
 public:
  Impl(ModelConfig config, const EngineOptions& options, std::unique_ptr<Forward> forward)
      : config(std::move(config)), options(options), loop(this->config, options, std::move(forward)) {}

  static std::unique_ptr<Engine> make(const ModelConfig& config, const EngineOptions& options,
                                      std::unique_ptr<weights::TensorSource> source,
                                      const std::function<void(double)>& progress) {
    const EngineOptions resolved = resolve(options, config);
    auto pool = std::make_unique<cpu::ThreadPool>(resolved.threads);
    cpu::ModelWeights weights = cpu::load_weights(config, {}, std::move(source), *pool, progress);
    std::unique_ptr<Forward> forward;
    try {
      forward = std::make_unique<cpu::CpuForward>(config, std::move(weights), std::move(pool), resolved.kv_blocks);
    } catch (const std::bad_alloc&) {
      throw ConfigError(fmt::format("kv_blocks is {}: a cache of that size does not fit memory", resolved.kv_blocks));
    }
    return std::unique_ptr<Engine>(new Engine(std::make_unique<Impl>(config, resolved, std::move(forward))));
  }

  ModelConfig config;
  EngineOptions options;
  EngineLoop loop;
};

std::unique_ptr<Engine> Engine::load(const std::filesystem::path& folder, const EngineOptions& options,
                                     const std::function<void(double)>& progress) {
  const ModelConfig config = parse_model_config(read_config(folder / "config.json"));
  return Impl::make(config, options, weights::open_safetensors(folder), progress);
}

std::unique_ptr<Engine> Engine::synthetic(const ModelConfig& config, const EngineOptions& options) {
  return Impl::make(config, options, weights::make_synthetic_source(config.fp8_weights), {});
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

const ModelConfig& Engine::config() const {
  return impl_->config;
}
const EngineOptions& Engine::options() const {
  return impl_->options;
}
int64_t Engine::kv_block_tokens() const {
  return kBlockTokens;
}

Admission Engine::admit(SequenceRequest request, std::string* reason) {
  return impl_->loop.admit(std::move(request), reason);
}

bool Engine::cancel(SequenceId id) {
  return impl_->loop.cancel(id);
}
bool Engine::has_work() const {
  return impl_->loop.has_work();
}
EngineLoad Engine::load_now() const {
  return impl_->loop.load_now();
}
StepReport Engine::step() {
  return impl_->loop.step();
}

}  // namespace bellwether::engine
