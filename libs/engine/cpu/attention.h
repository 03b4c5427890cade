// Multi-head latent attention (DeepSeek-V2, arxiv.org/abs/2405.04434, section 2.1) over a paged cache of latents.
//
// The cache holds, for each token and layer, kv_lora_rank values of the normalised latent and qk_rope_head_dim of the
// turned shared key, in float32: with weights read once per token the cache is a small part of a CPU's memory traffic,
// and results stay within rounding of float32 references.
//
// Two forms of the same product. The prefill form makes each head's keys and values from the latents; the decode form
// takes queries to the latent space instead, so that all heads read one cached row per token. Either takes the keys of
// a row in blocks of kBlockTokens positions, counted from the sequence's first: a row's sums do not depend on the
// batch.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/cpu/batch_rows.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/matmul.h"
#include "engine/cpu/model_weights.h"
#include "engine/cpu/rope.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/thread_pool.h"
#include "engine/model_config.h"

namespace bellwether::engine::cpu {

class Attention {
 public:
  // `heads`: how many this rank has. `kv_blocks`: blocks of kBlockTokens tokens that the cache holds, in each of
  // `layers`.
  Attention(const ModelConfig& config, int64_t heads, int64_t layers, ThreadPool& pool, int64_t kv_blocks);

  // To be called once for each batch, before the layers.
  void prepare(const BatchRows& rows);

  // y (rows, hidden) = attention of x (rows, hidden) by this rank's heads; the ranks' sum is the layer's. Adds the rows
  // to the cache of `layer`.
  void compute(int64_t layer, const AttentionWeights& weights, const BatchRows& rows, const float* x, float* y);

  [[nodiscard]] int64_t kv_blocks() const { return kv_blocks_; }

 private:
  // One head of rows [row_begin, row_end) of a segment.
  struct PrefillTask {
    const PrefillRows* rows;
    int64_t head;
    int64_t row_begin;
    int64_t row_end;
  };
  struct PrefillScratch {
    Scratch<float> keys;                  // (kBlockTokens, D)
    Scratch<float> values;                // (kBlockTokens, v, rounded up to whole vectors)
    Scratch<float> scores;                // (a tile of rows, kBlockTokens)
    Scratch<float> sums;                  // (rows, v, rounded up)
    std::vector<RunningSoftmax> softmax;  // (rows)
  };

  void project(const AttentionWeights& weights, const BatchRows& rows, const float* x);
  void turn_and_store(int64_t layer, const AttentionWeights& weights, const BatchRows& rows);
  void prefill_all(int64_t layer, const AttentionWeights& weights, const BatchRows& rows);
  void prefill(int64_t layer, const AttentionWeights& weights, const PrefillTask& task, PrefillScratch& scratch);
  void expand_block(const AttentionWeights& weights, const float* latents, int64_t tokens, int64_t head,
                    PrefillScratch& scratch) const;
  void decode_all(int64_t layer, const AttentionWeights& weights, const BatchRows& rows);
  void absorb_queries(const AttentionWeights& weights, const BatchRows& rows);
  void attend_latents(int64_t layer, const DecodeRow& row, int64_t index, int64_t head_begin, int64_t head_end);
  void expand_outputs(const AttentionWeights& weights, const BatchRows& rows);
  [[nodiscard]] float* cached(int64_t layer, std::span<const int32_t> blocks, int64_t position);

  const ModelConfig& config_;
  ThreadPool& pool_;
  Products products_;
  Rope rope_;
  float scale_;
  int64_t heads_;
  int64_t kv_blocks_;
  Scratch<float> cache_;  // (layers, kv_blocks, kBlockTokens, latent_dim); untouched pages take no memory

  // For the batch. H heads of this rank, D = nope + rope, L = kv_lora_rank, R = rope.
  Scratch<float> cosine_;         // (rows, R / 2)
  Scratch<float> sine_;           // (rows, R / 2)
  Scratch<float> q_latent_;       // (rows, q_lora_rank)
  Scratch<float> kv_;             // (rows, L + R)
  Scratch<float> q_;              // (rows, H, D)
  Scratch<float> absorbed_;       // (decode rows, H, L + R): queries in the latent space, then R turned
  Scratch<float> latent_output_;  // (decode rows, H, L)
  Scratch<float> output_;         // (rows, H, v)
  std::vector<PrefillScratch> of_thread_;
};

}  // namespace bellwether::engine::cpu
