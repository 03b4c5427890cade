// The forward pass on a CPU, in float32.
#pragma once

#include "engine/cpu/attention.h"
#include "engine/cpu/feed_forward.h"
#include "engine/cpu/model_weights.h"
#include "engine/cpu/thread_pool.h"
#include "engine/forward.h"
#include "engine/model_config.h"

namespace bellwether::engine::cpu {

class CpuForward final : public Forward {
 public:
  // `kv_blocks`: of the KV cache.
  CpuForward(ModelConfig config, ModelWeights weights, std::unique_ptr<ThreadPool> pool, int64_t kv_blocks);

  [[nodiscard]] std::span<const float> compute(std::span<const BatchSegment> segments) override;
  [[nodiscard]] std::span<const int32_t> draft(std::span<const DraftSegment> segments) override;
  [[nodiscard]] bool has_drafts() const override { return false; }

 private:
  void embed(std::span<const BatchSegment> segments, float* x);
  [[nodiscard]] std::span<const float> logits(std::span<const BatchSegment> segments, const float* x);

  ModelConfig config_;
  ModelWeights weights_;
  std::unique_ptr<ThreadPool> pool_;
  Attention attention_;
  FeedForward feed_forward_;
  Scratch<float> x_;       // (rows, hidden): the residual stream
  Scratch<float> normed_;  // (rows, hidden)
  Scratch<float> delta_;   // (rows, hidden): what half a layer adds to the stream
  Scratch<float> logits_;  // (wanted rows, vocab)
};

}  // namespace bellwether::engine::cpu
