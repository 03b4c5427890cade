// One rank's weights, as the CPU backend uses them: its slices (ranks/slices.h) of what is cut, all of the rest.
// Matrices are copies in large pages, in their source's format, rows side by side, or in the order of tiles those that
// the matrix unit multiplies (amx.h); the small vectors are copies in float32. Names and shapes: those of the published
// checkpoints.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "engine/cpu/large_pages.h"
#include "engine/cpu/matrix.h"
#include "engine/cpu/thread_pool.h"
#include "engine/model_config.h"
#include "engine/ranks/slices.h"
#include "weights/tensor_source.h"

namespace bellwether::engine::cpu {

// heads: those of this rank.
struct AttentionWeights {
  Matrix q_a;                    // (q_lora_rank, hidden); unused without q_lora_rank
  std::vector<float> q_a_norm;   // (q_lora_rank)
  Matrix q_b;                    // (heads * (nope + rope), q_lora_rank), or of width hidden without q_lora_rank
  Matrix kv_a;                   // (kv_lora_rank + rope, hidden)
  std::vector<float> kv_a_norm;  // (kv_lora_rank)
  Matrix kv_b;                   // (heads * (nope + v), kv_lora_rank)
  Matrix o;                      // (hidden, heads * v)
};

// inner: of this rank, perhaps 0.
struct MlpWeights {
  Matrix gate;  // (inner, hidden)
  Matrix up;    // (inner, hidden)
  Matrix down;  // (hidden, inner)
};

struct LayerWeights {
  std::vector<float> input_norm;  // (hidden)
  AttentionWeights attention;
  std::vector<float> post_attention_norm;  // (hidden)
  MlpWeights dense;                        // of a layer without experts
  Matrix router;                           // (n_routed_experts, hidden)
  std::vector<float> router_bias;          // (n_routed_experts)
  std::vector<MlpWeights> experts;         // (n_routed_experts)
  MlpWeights shared;                       // the shared experts as one MLP; rows == 0 without any
};

// The multi-token-prediction layer (DeepSeek-V3, arxiv.org/abs/2412.19437, section 2.2). Embedding and head are the
// main model's.
struct DraftWeights {
  std::vector<float> embedding_norm;  // (hidden)
  std::vector<float> hidden_norm;     // (hidden)
  Matrix input;                       // (hidden, this rank's columns of embedding and hidden state side by side)
  LayerWeights layer;
  std::vector<float> norm;  // (hidden), before the head
};

struct ModelWeights {
  RankSlices slices;
  Matrix embedding;  // (vocab, hidden)
  std::vector<LayerWeights> layers;
  std::vector<float> norm;  // (hidden)
  Matrix head;              // (this rank's part of vocab, hidden)
  std::optional<DraftWeights> draft;

  LargePages matrices;                                  // owns what the matrices point to,
  std::vector<std::unique_ptr<float[]>> scales;         // this their scales
  std::vector<std::unique_ptr<uint64_t[]>> rare_lines;  // and this their Matrix::rare_lines
};

struct WeightsWanted {
  int rank = 0;
  int ranks = 1;
  bool draft = false;  // the draft layer too
};

// Throws weights::WeightsError for a missing tensor, a wrong shape or format, and for FP8 weights that hold a NaN code
// or a scale that is not finite and below 128 in magnitude: the kernels rely on it. Looking for them reads every FP8
// byte of the slices once, which also brings their pages into memory. `progress`: from 0 to 1.
[[nodiscard]] ModelWeights load_weights(const ModelConfig& config, const WeightsWanted& wanted,
                                        std::unique_ptr<weights::TensorSource> source, ThreadPool& pool,
                                        const std::function<void(double)>& progress);

}  // namespace bellwether::engine::cpu
