// One rank's weights in GPU memory: its slices (ranks/slices.h) of what is cut, all of the rest. FP8 weights stay FP8
// where their slice lies on whole blocks of scales; otherwise they become bf16, as does what a checkpoint has in
// float32. Names and shapes: those of the published checkpoints.
#pragma once

#include <cuda_bf16.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "engine/cuda/bf16_experts.h"
#include "engine/cuda/device_memory.h"
#include "engine/cuda/layouts.h"
#include "engine/model_config.h"
#include "engine/ranks/slices.h"
#include "weights/tensor_source.h"

namespace bellwether::engine::cuda {

// (rows, cols) of outputs and inputs, in one of two formats.
struct Linear {
  int64_t rows = 0;
  int64_t cols = 0;
  Fp8Matrix fp8 = {};                     // tiles == nullptr: it is bf16
  const __nv_bfloat16* values = nullptr;  // (rows, cols)

  [[nodiscard]] bool is_fp8() const { return fp8.tiles != nullptr; }
};

// heads: those of this rank.
struct AttentionWeights {
  Linear qkv;                           // rows: q_lora_rank (perhaps 0), then kv_lora_rank + rope; of width hidden
  const float* q_norm = nullptr;        // (q_lora_rank)
  const float* kv_norm = nullptr;       // (kv_lora_rank)
  Linear q;                             // (heads * (nope + rope), q_lora_rank), or of width hidden without q_lora_rank
  const __nv_bfloat16* kv_b = nullptr;  // (heads * (nope + v), kv_lora_rank)
  const __nv_bfloat16* keys = nullptr;  // (heads, kv_lora_rank, nope): kv_b's keys, transposed
  Linear o;                             // (hidden, heads * v)
};

// The MLPs of a layer: a dense one, which every row takes, or routed experts and behind them the shared ones.
struct MlpWeights {
  Experts fp8 = {};  // experts == 0: they are bf16
  Bf16Experts values = {};
  int64_t every_row = 0;  // the last so many are for every row

  [[nodiscard]] bool is_fp8() const { return fp8.experts > 0; }
  [[nodiscard]] int64_t experts() const { return is_fp8() ? fp8.experts : values.experts; }
  [[nodiscard]] int64_t inner() const { return is_fp8() ? fp8.inner : values.inner; }
};

struct LayerWeights {
  const float* input_norm = nullptr;  // (hidden)
  AttentionWeights attention;
  const float* post_attention_norm = nullptr;  // (hidden)
  Linear router;                               // (n_routed_experts, hidden), bf16; rows == 0 in a dense layer
  const float* router_bias = nullptr;          // (n_routed_experts)
  MlpWeights mlp;
};

// The multi-token-prediction layer (DeepSeek-V3, arxiv.org/abs/2412.19437, section 2.2).
struct DraftWeights {
  const float* embedding_norm = nullptr;  // (hidden)
  const float* hidden_norm = nullptr;     // (hidden)
  Linear input;  // (hidden, this rank's columns of embedding and hidden state side by side), bf16
  LayerWeights layer;
  const float* norm = nullptr;  // (hidden), before the head
};

struct ModelWeights {
  RankSlices slices;
  const __nv_bfloat16* embedding = nullptr;  // (vocab, hidden)
  std::vector<LayerWeights> layers;
  const float* norm = nullptr;  // (hidden)
  Linear head;                  // (this rank's part of vocab, hidden), bf16
  std::optional<DraftWeights> draft;

  std::vector<DeviceArray<std::byte>> memory;  // owns what all of that points to
  int64_t bytes = 0;                           // of it
};

struct WeightsWanted {
  int rank = 0;
  int ranks = 1;
  bool draft = false;  // the draft layer too
};

// Throws weights::WeightsError for a missing tensor, a wrong shape or format, for FP8 weights that hold NaN and for
// scales that are not finite and below 128 in magnitude; ConfigError for a model that these kernels do not compute;
// CudaError when memory runs out. `progress`: from 0 to 1. Made-up weights are made on the GPU.
[[nodiscard]] ModelWeights load_weights(const ModelConfig& config, const WeightsWanted& wanted,
                                        weights::TensorSource& source, const std::function<void(double)>& progress);

}  // namespace bellwether::engine::cuda
