// The forward pass of one rank on a GPU: products in FP8 where the weights are, everything else in bf16 with sums in
// float32.
//
// A batch of generated tokens alone is filled up to one of a few sizes, and its work captured into a graph the first
// time; others are launched kernel by kernel.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <vector>

#include "engine/cuda/device_memory.h"
#include "engine/cuda/layer_pass.h"
#include "engine/cuda/model_weights.h"
#include "engine/cuda/step_inputs.h"
#include "engine/forward.h"
#include "engine/model_config.h"
#include "engine/ranks/local_collective.h"

namespace bellwether::engine::cuda {

struct CudaOptions {
  int device = 0;                     // CUDA's number of the GPU
  int64_t kv_blocks = 0;              // 0 = as kv_room.h has it
  double gpu_memory_utilization = 0;  // with kv_blocks 0
  int64_t rows_max = 0;               // of a batch
  int64_t context_max = 0;            // tokens of one sequence
  bool is_deterministic = true;
};

class CudaForward final : public RankForward {
 public:
  // Throws CudaError when the memory for a batch does not fit the GPU, and ConfigError when the cache does not.
  // REQUIRES: `weights` are on that GPU.
  CudaForward(ModelConfig config, ModelWeights weights, const CudaOptions& options);
  ~CudaForward() override;

  [[nodiscard]] std::span<const float> compute(std::span<const BatchSegment> segments) override;
  [[nodiscard]] std::span<const int32_t> draft(std::span<const DraftSegment> segments) override;
  [[nodiscard]] bool has_drafts() const override { return weights_.draft.has_value(); }
  void join(Collective& group) override;
  [[nodiscard]] int64_t kv_blocks() const override { return kv_blocks_; }
  [[nodiscard]] std::optional<GpuMemoryUse> gpu_memory() const override { return memory_; }

 private:
  // A sequence of draft().
  struct Drafting {
    BatchSegment segment;  // to be read next
    int64_t left;          // guesses wanted after it
    int32_t* guess;        // where the next one goes
  };

  void make_cache();
  [[nodiscard]] KvPages pages(int64_t layer) const;
  void run_model(const StepInputs& inputs);
  void run_graph(const StepInputs& inputs);
  void part_logits(const __nv_bfloat16* x, int64_t rows);
  [[nodiscard]] std::span<const float> collect_logits(const StepInputs& inputs, int64_t rows);
  void guess_next(const __nv_bfloat16* hidden_states, std::vector<int32_t> sources);
  void most_likely_ids(int64_t rows, int32_t* ids);

  ModelConfig config_;
  ModelWeights weights_;
  CudaOptions options_;
  int64_t held_before_ = device_bytes_held;  // before the workspace, which the members after it are
  Stream stream_;
  LocalCollective alone_;
  Collective* group_ = &alone_;
  std::vector<Slice> vocabularies_;  // of each rank
  int64_t widest_ = 0;               // logits of the rank that has most
  StepInputMemory inputs_;
  LayerPass layers_;
  DeviceArray<__nv_bfloat16> final_;          // (rows, hidden): after the last norm, of compute()'s batch
  DeviceArray<__nv_bfloat16> draft_hidden_;   // (rows, hidden): what the draft layer reads beside the tokens
  DeviceArray<__nv_bfloat16> draft_final_;    // (rows, hidden): after the draft layer's norm
  DeviceArray<__nv_bfloat16> wanted_;         // (kLogitsRows, hidden): rows whose logits are computed together
  DeviceArray<float> logits_;                 // (kLogitsRows, widest_)
  DeviceArray<int32_t> sources_;              // (rows)
  DeviceArray<LikelyToken> likely_;           // (kLogitsRows)
  std::unique_ptr<PinnedArray<float>> host_;  // (host_rows_, widest_): this rank's logits
  int64_t host_rows_ = 0;
  std::vector<float> parts_;                   // (ranks, rows, widest_)
  std::vector<float> all_logits_;              // (rows, vocab)
  std::vector<int32_t> row_of_;                // of compute()'s batch, as StepBatch has it
  std::map<int64_t, cudaGraphExec_t> graphs_;  // by the number of rows
  std::vector<Drafting> drafting_;
  std::vector<int32_t> guesses_;
  DeviceArray<uint8_t> cache_;  // (layers, kv_blocks) pages
  int64_t kv_blocks_ = 0;
  GpuMemoryUse memory_;
};

}  // namespace bellwether::engine::cuda
