// The second half of a layer: one MLP, or a mixture of experts. down(silu(gate(x)) * up(x)) in either.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/cpu/matmul.h"
#include "engine/cpu/model_weights.h"
#include "engine/cpu/router.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/thread_pool.h"
#include "engine/forward.h"
#include "engine/model_config.h"

namespace bellwether::engine::cpu {

class FeedForward {
 public:
  FeedForward(const ModelConfig& config, ThreadPool& pool) : config_(config), pool_(pool), products_(pool) {}

  // y (rows, hidden) = the layer's MLP or experts of x (rows, hidden), by this
  // rank's part of their inner dimension; the ranks' sum is the layer's.
  void compute(const LayerWeights& weights, const float* x, int64_t rows, float* y);

  // Adds the last compute()'s MLPs.
  void add_work(WeightWork& work) const;

 private:
  // Rows that one MLP computes together.
  struct Group {
    const MlpWeights* mlp;
    int64_t rows;
    const float* x;  // (rows, hidden)
    float* inner;    // (rows, mlp->gate.rows)
    float* y;        // (rows, hidden)
  };

  void mix_experts(const LayerWeights& weights, const float* x, int64_t rows, float* y);
  void route(const LayerWeights& weights, const float* x, int64_t rows);
  void group_by_expert(const LayerWeights& weights, const float* x, int64_t rows);
  void run_groups();
  void combine(const LayerWeights& weights, int64_t rows, float* y);

  const ModelConfig& config_;
  ThreadPool& pool_;
  Products products_;
  std::vector<Group> groups_;
  std::vector<WorkItem> items_;
  std::vector<DotJob> jobs_;
  std::vector<int64_t> first_of_expert_;  // (experts + 1): where each expert's rows begin among the gathered
  std::vector<int64_t> place_;            // (rows, top_k): where each choice's row is among the gathered
  Scratch<float> router_logits_;          // (rows, experts)
  Scratch<ExpertChoice> choices_;         // (rows, top_k)
  Scratch<float> gathered_;               // (rows * top_k, hidden), expert after expert
  Scratch<float> inner_;                  // up and gated values of every group
  Scratch<float> up_;                     // as inner_
  Scratch<float> expert_output_;          // (rows * top_k, hidden), expert after expert
  Scratch<float> shared_output_;          // (rows, hidden)
};

}  // namespace bellwether::engine::cpu
