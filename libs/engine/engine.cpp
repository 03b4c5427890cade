#include "engine/engine.h"

#include <utility>

#include "engine/echo/echo_forward.h"
#include "engine/engine_loop.h"
#include "engine/invariant.h"
#include "engine/kv_blocks.h"
#include "engine/load_forward.h"
#include "engine/ranks/group_forward.h"
#include "weights/safetensors.h"
#include "weights/synthetic.h"

namespace bellwether::engine {

class Engine::Impl {
 public:
  Impl(ModelConfig config, const EngineOptions& options, std::optional<GpuMemoryUse> gpu_memory,
       std::unique_ptr<Forward> forward, GroupForward* group)
      : config(std::move(config)),
        options(options),
        gpu_memory(gpu_memory),
        loop(this->config, options, std::move(forward)),
        group(group) {}

  static std::unique_ptr<Engine> make(const ModelConfig& config, const EngineOptions& options,
                                      std::unique_ptr<weights::TensorSource> source,
                                      const std::function<void(double)>& progress) {
    EngineOptions resolved = resolve(options, config);
    std::unique_ptr<RankForward> own = load_forward(config, resolved, std::move(source), progress);
    resolved.kv_blocks = own->kv_blocks();
    const std::optional<GpuMemoryUse> memory = own->gpu_memory();
    if (resolved.ranks == 1) return of(std::make_unique<Impl>(config, resolved, memory, std::move(own), nullptr));
    auto cut = std::make_unique<GroupForward>(std::move(own));
    GroupForward* group = cut.get();
    return of(std::make_unique<Impl>(config, resolved, memory, std::move(cut), group));
  }

  static std::unique_ptr<Engine> make_echo(const ModelConfig& config, const EngineOptions& options,
                                           const EchoPace& pace) {
    const EngineOptions resolved = resolve(options, config);
    require(resolved.ranks == 1, "an echo has one rank");
    auto forward = std::make_unique<EchoForward>(config, resolved.kv_blocks, pace);
    return of(std::make_unique<Impl>(config, resolved, std::nullopt, std::move(forward), nullptr));
  }

  static std::unique_ptr<Engine> of(std::unique_ptr<Impl> impl) {
    return std::unique_ptr<Engine>(new Engine(std::move(impl)));
  }

  ModelConfig config;
  EngineOptions options;
  std::optional<GpuMemoryUse> gpu_memory;
  EngineLoop loop;
  GroupForward* group;  // the loop's forward pass, when the model is cut over ranks
};

std::unique_ptr<Engine> Engine::load(const std::filesystem::path& folder, const EngineOptions& options,
                                     const std::function<void(double)>& progress) {
  const ModelConfig config = load_config(folder);
  return Impl::make(config, options, weights::open_safetensors(folder), progress);
}

std::unique_ptr<Engine> Engine::synthetic(const ModelConfig& config, const EngineOptions& options) {
  return Impl::make(config, options, weights::make_synthetic_source(config.fp8_weights), {});
}

std::unique_ptr<Engine> Engine::echo(const ModelConfig& config, const EngineOptions& options, const EchoPace& pace) {
  return Impl::make_echo(config, options, pace);
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

const ModelConfig& Engine::config() const {
  return impl_->config;
}
const EngineOptions& Engine::options() const {
  return impl_->options;
}
std::optional<GpuMemoryUse> Engine::gpu_memory() const {
  return impl_->gpu_memory;
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
void Engine::join(std::unique_ptr<Collective> group) {
  require(impl_->group != nullptr, "a group joined an engine of one rank");
  impl_->options.kv_blocks = impl_->group->join(std::move(group));
  impl_->loop.begin_anew(impl_->options.kv_blocks);
}
std::vector<KvEvent> Engine::kv_dump() const {
  return impl_->loop.kv_dump();
}

}  // namespace bellwether::engine
