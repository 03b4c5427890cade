// A forward pass that computes nothing: it repeats the prompt, at a set pace. Everything around a model (plans, blocks,
// sampling, and the whole mesh) can be run and measured with it as if there were one.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "engine/forward.h"
#include "engine/model_config.h"

namespace bellwether::engine {

// How long a step takes that computes so many tokens. Prompts go one after the other, generated tokens all at once.
[[nodiscard]] std::chrono::nanoseconds step_time(const EchoPace& pace, int64_t prompt_tokens, int64_t generated_tokens);

// When a step is over that takes `duration`: that long after the one before was, or after `now` if that was longer ago.
// So the time that a busy engine takes between two steps counts, and it keeps its rate.
[[nodiscard]] std::chrono::steady_clock::time_point step_due(std::chrono::steady_clock::time_point due_before,
                                                             std::chrono::steady_clock::time_point now,
                                                             std::chrono::nanoseconds duration);

// Output token i is prompt token i, and after the prompt's end it begins again, whatever the sampling parameters; an
// end-of-sequence id among them is replaced by the lowest id that is none. So output depends on the prompt only, is the
// same after a resumption elsewhere, and ends at max_tokens or where the request itself says stop.
//
// Ids are read through the block table, as a model reads its keys and values.
class EchoForward final : public Forward {
 public:
  using Pause = std::function<void(std::chrono::nanoseconds)>;
  [[nodiscard]] static Pause real_pause();  // sleeps until the step is due

  EchoForward(const ModelConfig& config, int64_t kv_blocks, const EchoPace& pace, Pause pause = real_pause());

  [[nodiscard]] std::span<const float> compute(std::span<const BatchSegment> segments) override;
  [[nodiscard]] std::span<const int32_t> draft(std::span<const DraftSegment>) override { return {}; }
  [[nodiscard]] bool has_drafts() const override { return false; }

 private:
  [[nodiscard]] int32_t next_id(const BatchSegment& segment, int64_t position) const;
  void begin_rows(int64_t rows);

  size_t vocab_size_;
  std::vector<int32_t> eos_ids_;
  int32_t no_eos_id_ = 0;
  EchoPace pace_;
  Pause pause_;
  std::vector<int32_t> slots_;   // (kv_blocks, kBlockTokens): ids
  std::vector<float> logits_;    // (rows, vocab_size): all 0 but for one in each row of the last step
  std::vector<int32_t> raised_;  // which one, for each row of the last step
};

}  // namespace bellwether::engine
