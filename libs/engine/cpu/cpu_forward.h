// The forward pass of one rank on a CPU, in float32.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/cpu/attention.h"
#include "engine/cpu/feed_forward.h"
#include "engine/cpu/matmul.h"
#include "engine/cpu/model_weights.h"
#include "engine/cpu/output_head.h"
#include "engine/cpu/thread_pool.h"
#include "engine/forward.h"
#include "engine/model_config.h"
#include "engine/ranks/local_collective.h"

namespace bellwether::engine::cpu {

class CpuForward final : public RankForward {
 public:
  // `kv_blocks`: of the KV cache.
  CpuForward(ModelConfig config, ModelWeights weights, std::unique_ptr<ThreadPool> pool, int64_t kv_blocks);

  [[nodiscard]] std::span<const float> compute(std::span<const BatchSegment> segments) override;
  [[nodiscard]] std::span<const int32_t> draft(std::span<const DraftSegment> segments) override;
  [[nodiscard]] bool has_drafts() const override { return weights_.draft.has_value(); }
  [[nodiscard]] WeightWork work() const override { return work_; }
  void join(Collective& group) override { group_ = &group; }
  [[nodiscard]] int64_t kv_blocks() const override { return attention_.kv_blocks(); }

 private:
  // A sequence of draft().
  struct Drafting {
    BatchSegment segment;  // to be read next
    int64_t left;          // guesses wanted after it
    int32_t* guess;        // where the next one goes
  };

  void embed(std::span<const BatchSegment> segments, float* x);
  void run_layer(int64_t index, const LayerWeights& layer, const BatchRows& rows);
  void guess_next();
  void run_draft_layer();
  void count(const Matrix& w, int64_t rows);
  void normalise(const float* x, const std::vector<float>& weight, int64_t rows, float* y);
  void sum_over_ranks(float* x, int64_t rows);

  ModelConfig config_;
  ModelWeights weights_;
  std::unique_ptr<ThreadPool> pool_;
  Products products_;
  LocalCollective alone_;
  Collective* group_ = &alone_;
  Attention attention_;
  FeedForward feed_forward_;
  OutputHead head_;
  Scratch<float> x_;             // (rows, hidden): the residual stream
  Scratch<float> normed_;        // (rows, hidden)
  Scratch<float> delta_;         // (rows, hidden): what half a layer adds to the stream
  Scratch<float> final_;         // (rows, hidden): after the last layer's norm, of compute()'s batch
  Scratch<float> draft_hidden_;  // (rows, hidden): what the draft layer reads beside the tokens
  Scratch<float> draft_input_;   // (rows, 2 * hidden)
  std::vector<Drafting> drafting_;
  std::vector<int32_t> guesses_;  // of draft()
  WeightWork work_;               // of compute()
};

}  // namespace bellwether::engine::cpu
