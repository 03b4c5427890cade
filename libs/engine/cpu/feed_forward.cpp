#include "engine/cpu/feed_forward.h"

#include <algorithm>
#include <cstring>

#include "engine/cpu/kernels.h"

namespace bellwether::engine::cpu {

void FeedForward::compute(const LayerWeights& weights, const float* x, int64_t rows, float* y) {
  if (!weights.experts.empty()) return mix_experts(weights, x, rows, y);
  groups_.clear();
  groups_.push_back({&weights.dense, rows, x, inner_.at_least(rows * weights.dense.gate.rows), y});
  run_groups();
}

void FeedForward::mix_experts(const LayerWeights& weights, const float* x, int64_t rows, float* y) {
  route(weights, x, rows);
  group_by_expert(weights, x, rows);
  run_groups();
  combine(weights, rows, y);
}

void FeedForward::route(const LayerWeights& weights, const float* x, int64_t rows) {
  const int64_t experts = config_.n_routed_experts;
  const int64_t top_k = config_.num_experts_per_tok;
  float* logits = router_logits_.at_least(rows * experts);
  ExpertChoice* choices = choices_.at_least(rows * top_k);
  products_.run({x, config_.hidden_size, rows, &weights.router, logits, experts});
  pool_.for_each(rows, [&](int64_t row) {
    choose_experts(config_, {logits + row * experts, static_cast<size_t>(experts)}, weights.router_bias,
                   {choices + row * top_k, static_cast<size_t>(top_k)});
  });
}

// Lays the rows of each expert side by side, and makes a group of each expert that has any, and of the shared one.
void FeedForward::group_by_expert(const LayerWeights& weights, const float* x, int64_t rows) {
  const int64_t hidden = config_.hidden_size;
  const int64_t experts = config_.n_routed_experts;
  const int64_t top_k = config_.num_experts_per_tok;
  const ExpertChoice* choices = choices_.data();
  first_of_expert_.assign(static_cast<size_t>(experts) + 1, 0);
  for (int64_t i = 0; i < rows * top_k; ++i) ++first_of_expert_[choices[i].expert + 1];
  for (int64_t e = 0; e < experts; ++e) first_of_expert_[e + 1] += first_of_expert_[e];

  float* gathered = gathered_.at_least(rows * top_k * hidden);
  float* outputs = expert_output_.at_least(rows * top_k * hidden);
  const int64_t inner_size = weights.experts[0].gate.rows;
  float* inner = inner_.at_least(rows * (top_k * inner_size + weights.shared.gate.rows));
  groups_.clear();
  for (int64_t e = 0; e < experts; ++e) {
    const int64_t first = first_of_expert_[e];
    const int64_t count = first_of_expert_[e + 1] - first;
    if (count == 0) continue;
    groups_.push_back(
        {&weights.experts[e], count, gathered + first * hidden, inner + first * inner_size, outputs + first * hidden});
  }
  if (weights.shared.gate.rows > 0) {
    groups_.push_back(
        {&weights.shared, rows, x, inner + rows * top_k * inner_size, shared_output_.at_least(rows * hidden)});
  }
  place_.resize(static_cast<size_t>(rows * top_k));
  std::vector<int64_t>& next = first_of_expert_;
  for (int64_t i = 0; i < rows * top_k; ++i) place_[i] = next[choices[i].expert]++;
  pool_.for_each(rows, [&](int64_t row) {
    for (int64_t i = row * top_k; i < (row + 1) * top_k; ++i) {
      std::memcpy(gathered + place_[i] * hidden, x + row * hidden, static_cast<size_t>(hidden) * sizeof(float));
    }
  });
}

void FeedForward::run_groups() {
  int64_t inner_size = 0;
  for (const Group& group : groups_) inner_size += group.rows * group.mlp->gate.rows;
  float* up_all = up_.at_least(inner_size);
  items_.clear();
  jobs_.clear();
  for (const Group& group : groups_) {
    const MlpWeights& mlp = *group.mlp;
    const int64_t width = mlp.gate.rows;
    float* up = up_all + (group.inner - groups_[0].inner);
    jobs_.push_back({group.x, mlp.gate.cols, group.rows, &mlp.gate, group.inner, width});
    jobs_.push_back({group.x, mlp.up.cols, group.rows, &mlp.up, up, width});
    items_.push_back({.units = width, .unit_cost = 2 * cost_of_output(jobs_.back())});
  }
  products_.prepare(jobs_);
  run_items(pool_, items_, [&](int64_t i, int64_t begin, int64_t end) {
    const DotJob& gate = jobs_[2 * i];
    const DotJob& up = jobs_[2 * i + 1];
    products_.compute(gate, 2 * i, begin, end);
    products_.compute(up, 2 * i + 1, begin, end);
    for (int64_t row = 0; row < gate.rows; ++row) {
      float* gated = gate.y + row * gate.y_stride + begin;
      silu_multiply(gated, up.y + row * up.y_stride + begin, end - begin, gated);
    }
  });
  jobs_.clear();
  for (const Group& group : groups_) {
    const Matrix& down = group.mlp->down;
    jobs_.push_back({group.inner, down.cols, group.rows, &down, group.y, down.rows});
  }
  products_.run(jobs_);
}

void FeedForward::add_work(WeightWork& work) const {
  for (const Group& group : groups_) {
    for (const Matrix* w : {&group.mlp->gate, &group.mlp->up, &group.mlp->down}) {
      work.bytes += w->bytes();
      work.multiply_adds += group.rows * w->rows * w->cols;
    }
  }
}

// Each row's experts in order of their number, then the shared ones.
void FeedForward::combine(const LayerWeights& weights, int64_t rows, float* y) {
  const int64_t hidden = config_.hidden_size;
  const int64_t top_k = config_.num_experts_per_tok;
  const ExpertChoice* choices = choices_.data();
  const float* outputs = expert_output_.data();
  pool_.for_each(rows, [&](int64_t row) {
    float* out = y + row * hidden;
    std::fill_n(out, hidden, 0.0F);
    for (int64_t i = row * top_k; i < (row + 1) * top_k; ++i) {
      add_scaled(outputs + place_[i] * hidden, choices[i].weight, hidden, out);
    }
    if (weights.shared.gate.rows > 0) add(shared_output_.data() + row * hidden, hidden, out);
  });
}

}  // namespace bellwether::engine::cpu
