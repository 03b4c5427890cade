// A rank that is not the head: it computes its slice of every batch that the head plans.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include "engine/engine.h"
#include "engine/ranks/collective.h"

namespace bellwether::engine {

class Follower {
 public:
  // Loads this rank's slices. `options` are the head's, but for `rank`, `threads`. Throws as Engine::load.
  static std::unique_ptr<Follower> load(const std::filesystem::path& folder, const EngineOptions& options,
                                        const std::function<void(double)>& progress = {});
  static std::unique_ptr<Follower> synthetic(const ModelConfig& config, const EngineOptions& options);
  ~Follower();

  // Computes what the head of `group` plans, until the head ends the group in order. Throws GroupBroken. Can be called
  // again with another group: the KV cache begins empty, the weights stay. `steps` counts batches, as the head does; it
  // may be read from other threads.
  void follow(Collective& group);
  [[nodiscard]] uint64_t steps() const;

 private:
  class Impl;
  explicit Follower(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace bellwether::engine
