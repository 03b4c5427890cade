// The layers' work on the GPU: from the embedding of a batch's tokens to its last norm. Everything is launched on one
// stream, into memory that stays where it is, so that it can be captured into a graph; with several ranks it is not,
// because sums over them go through the host.
#pragma once

#include <cuda_bf16.h>

#include <vector>

#include "engine/cuda/device_memory.h"
#include "engine/cuda/kernels.h"
#include "engine/cuda/model_weights.h"
#include "engine/cuda/step_inputs.h"
#include "engine/cuda/step_kernels.h"
#include "engine/model_config.h"
#include "engine/ranks/collective.h"

namespace bellwether::engine::cuda {

// Rows of activations that a product reads, in the formats that are wanted.
struct Activations {
  DeviceArray<uint8_t> codes;
  DeviceArray<float> scales;
  DeviceArray<__nv_bfloat16> values;
  int64_t width = 0;

  Activations(int64_t rows_max, int64_t width);
  // Where `rows` rows are in FP8.
  [[nodiscard]] Fp8Rows fp8(int64_t rows) const;
};

class LayerPass {
 public:
  struct Limits {
    int64_t rows_max = 0;
    int64_t pages_max = 0;         // of one sequence
    bool is_deterministic = true;  // sums do not depend on the batch
  };
  LayerPass(const ModelConfig& config, const ModelWeights& weights, const Limits& limits);

  void set_group(Collective* group) { group_ = group; }

  // What the calls after it, up to the next begin(), compute.
  void begin(const StepInputs& inputs, Stream& stream);
  // x = the tokens' embeddings.
  void embed();
  // x = the draft layer's projection of the tokens' embeddings beside hidden_states (rows, hidden).
  void embed_draft(const DraftWeights& draft, const __nv_bfloat16* hidden_states);
  // x goes through one layer, whose keys and values are in `pages`.
  void run(const LayerWeights& layer, const KvPages& pages);
  // out (rows, hidden) = the norm of x.
  void finish(const float* norm, __nv_bfloat16* out);

 private:
  // Memory for an ExpertPlan of `choices` choices of `experts` experts.
  struct PlanMemory {
    PlanMemory(int64_t rows_max, int64_t choices, int64_t experts);
    [[nodiscard]] ExpertPlan plan(int64_t rows) const;
    DeviceArray<int32_t> tile_count;
    DeviceArray<ExpertTile> tiles;
    DeviceArray<int32_t> slot_row;
    DeviceArray<float> slot_weight;
    DeviceArray<int32_t> choice_slot;
    int64_t choices;
    int64_t experts;
  };

  void multiply(const Linear& w, const Activations& x, __nv_bfloat16* y);
  [[nodiscard]] NormOutput output_of(const Activations& activations, bool codes, bool values) const;
  void norm(const float* weight, const Activations& out, bool codes, bool values);
  void attend(const AttentionWeights& weights, const KvPages& pages);
  void decode(const AttentionWeights& weights, const KvPages& pages);
  void prefill(const AttentionWeights& weights, const KvPages& pages, const StepInputs::Prefill& run);
  void feed_forward(const LayerWeights& layer);
  void sum_over_ranks(__nv_bfloat16* delta);
  [[nodiscard]] int64_t decode_chunk() const;
  [[nodiscard]] DecodePlan decode_plan(int64_t rows) const;

  const ModelConfig& config_;
  const ModelWeights& weights_;
  Limits limits_;
  LatentShape shape_;
  RouterShape router_;
  float epsilon_;
  float scale_;      // of attention's scores
  float magnitude_;  // of turned pairs
  Collective* group_ = nullptr;
  Stream* stream_ = nullptr;
  cudaStream_t launch_ = nullptr;
  StepInputs inputs_;
  int64_t rows_ = 0;
  const __nv_bfloat16* pending_ = nullptr;  // what is to be added to x before its next norm

  // R rows, H heads of this rank.
  DeviceArray<float> frequencies_;
  DeviceArray<float> cosine_;  // (R, rope / 2)
  DeviceArray<float> sine_;
  DeviceArray<float> x_;                 // (R, hidden): the residual stream
  DeviceArray<__nv_bfloat16> delta_;     // (R, hidden): what half a layer adds to it
  Activations normed_;                   // (R, hidden)
  DeviceArray<__nv_bfloat16> qkv_;       // (R, q_rank + latent + rope)
  Activations q_latent_;                 // (R, q_rank)
  DeviceArray<__nv_bfloat16> q_;         // (R, H, nope + rope)
  DeviceArray<__nv_bfloat16> absorbed_;  // (decode_chunk, H, latent + rope)
  DeviceArray<__nv_bfloat16> latents_;   // (decode_chunk, H, latent); also of prefill's chunk (kKvChunk, latent)
  Activations attended_;                 // (R, H * v)
  DeviceArray<int32_t> plan_starts_;     // DecodePlan's block_begin and row_begin
  DeviceArray<int4> plan_pieces_;
  DeviceArray<uint8_t> decode_workspace_;
  DeviceArray<__nv_bfloat16> kv_;      // (kKvChunk, H, nope + v)
  DeviceArray<__nv_bfloat16> k_rope_;  // (kKvChunk, rope)
  DeviceArray<uint8_t> prefill_state_;
  DeviceArray<float> router_logits_;  // (splits, R, experts)
  DeviceArray<ExpertChoice> choices_;
  PlanMemory dense_plan_;
  PlanMemory expert_plan_;
  DeviceArray<uint8_t> inner_;  // codes, or bf16 values, of every slot
  DeviceArray<float> inner_scales_;
  DeviceArray<__nv_bfloat16> expert_out_;   // (slots, hidden)
  DeviceArray<__nv_bfloat16> draft_input_;  // (R, 2 * hidden)
  std::vector<uint16_t> staged_;            // of a sum over ranks
};

}  // namespace bellwether::engine::cuda
