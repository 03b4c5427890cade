// The engine without its weights: sequences, blocks, plans, sampling, around any forward pass.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/batch_plan.h"
#include "engine/engine.h"
#include "engine/forward.h"
#include "engine/kv_blocks.h"

namespace bellwether::engine {

// `options` with every 0 resolved for `config`. Throws ConfigError that names an option that cannot be used.
[[nodiscard]] EngineOptions resolve(const EngineOptions& options, const ModelConfig& config);

// Engine's methods mean what engine.h says of them.
class EngineLoop {
 public:
  // REQUIRES: `options` are resolved; `forward` has options.kv_blocks blocks.
  EngineLoop(const ModelConfig& config, const EngineOptions& options, std::unique_ptr<Forward> forward);

  Admission admit(SequenceRequest request, std::string* reason);
  bool cancel(SequenceId id);
  void forget_all();  // every sequence, as if cancelled
  [[nodiscard]] bool has_work() const { return !running_.empty() || !waiting_.empty(); }
  [[nodiscard]] EngineLoad load_now() const;
  [[nodiscard]] StepReport step();

 private:
  struct Sequence {
    SequenceRequest request;
    std::vector<int32_t> ids;     // prompt and output so far
    int64_t given = 0;            // of ids, how many came with the request
    int64_t computed = 0;         // of ids, how many are in the KV cache
    std::vector<int32_t> blocks;  // of the KV cache
    [[nodiscard]] int64_t pending() const { return static_cast<int64_t>(ids.size()) - computed; }
  };
  using Sequences = std::list<Sequence>;  // in the order they are served: priority, then arrival

  [[nodiscard]] std::string invalid_reason(const SequenceRequest& request) const;
  [[nodiscard]] int64_t blocks_max(const SequenceRequest& request) const;
  [[nodiscard]] bool is_known(SequenceId id) const;
  static void insert(Sequences& sequences, Sequences& from, Sequences::iterator sequence);
  [[nodiscard]] BatchPlan make_plan() const;
  [[nodiscard]] BatchSegment prepare_segment(Sequence& sequence, int64_t tokens);
  void append_token(Sequence& sequence, std::span<const float> logits, SequenceOutput& output) const;
  void release(Sequence& sequence);

  ModelConfig config_;
  EngineOptions options_;
  std::unique_ptr<Forward> forward_;
  BlockAllocator blocks_;
  Sequences running_;
  Sequences waiting_;
};

}  // namespace bellwether::engine
