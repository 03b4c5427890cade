// The engine without its weights: sequences, blocks, plans, sampling, around any forward pass.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "engine/batch_plan.h"
#include "engine/engine.h"
#include "engine/engine_options.h"
#include "engine/forward.h"
#include "engine/generation.h"
#include "engine/kv_cache.h"
#include "engine/sequence.h"

namespace bellwether::engine {

// Engine's methods mean what engine.h says of them.
class EngineLoop {
 public:
  // REQUIRES: `options` are resolved; `forward` has options.kv_blocks blocks or more.
  EngineLoop(const ModelConfig& config, const EngineOptions& options, std::unique_ptr<Forward> forward);

  Admission admit(SequenceRequest request, std::string* reason);
  bool cancel(SequenceId id);
  [[nodiscard]] bool has_work() const { return !sequences_.empty(); }
  [[nodiscard]] EngineLoad load_now() const;
  [[nodiscard]] StepReport step();
  [[nodiscard]] std::vector<KvEvent> kv_dump() const { return cache_.dump(); }

  // Forgets every sequence and begins with an empty cache of so many blocks, also after a step that threw.
  void begin_anew(int64_t kv_blocks);

 private:
  using Sequences = std::list<Sequence>;

  // A sequence's part of a step.
  struct Part {
    Sequence* sequence;
    PlannedSequence planned;
    int64_t position = 0;  // of its first row's token
    bool is_finished = false;
  };

  [[nodiscard]] std::string invalid_reason(const SequenceRequest& request) const;
  [[nodiscard]] int64_t blocks_max(const SequenceRequest& request) const;

  [[nodiscard]] std::vector<Sequence*> offer();
  void find_cached(Sequence& sequence) const;
  [[nodiscard]] std::vector<Part> plan(StepReport& report);
  void start(Sequence& sequence, StepReport& report);
  void stop(Sequence& sequence);

  [[nodiscard]] static BatchSegment make_segment(Part& part);
  void read_logits(Part& part, std::span<const float> logits, StepReport& report);
  void draft(std::span<Part> parts);
  [[nodiscard]] int64_t drafts_wanted(const Part& part) const;
  void store(Sequence& sequence);

  ModelConfig config_;
  EngineOptions options_;
  std::unique_ptr<Forward> forward_;
  KvCache cache_;
  Generation generation_;
  Sequences sequences_;  // running and waiting, in order: priority, then arrival
};

}  // namespace bellwether::engine
