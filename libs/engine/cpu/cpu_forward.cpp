#include "engine/cpu/cpu_forward.h"

#include <utility>

#include "engine/cpu/kernels.h"
#include "engine/cpu/matmul.h"

namespace bellwether::engine::cpu {

CpuForward::CpuForward(ModelConfig config, ModelWeights weights, std::unique_ptr<ThreadPool> pool, int64_t kv_blocks)
    : config_(std::move(config)),
      weights_(std::move(weights)),
      pool_(std::move(pool)),
      attention_(config_, *pool_, kv_blocks),
      feed_forward_(config_, *pool_) {}

std::span<const float> CpuForward::compute(std::span<const BatchSegment> segments) {
  const BatchRows rows = rows_of(segments);
  const int64_t hidden = config_.hidden_size;
  float* x = x_.at_least(rows.count * hidden);
  float* normed = normed_.at_least(rows.count * hidden);
  float* delta = delta_.at_least(rows.count * hidden);
  const auto normalise = [&](const std::vector<float>& weight) {
    pool_->for_each(rows.count, [&](int64_t row) {
      rms_norm(x + row * hidden, weight.data(), hidden, static_cast<float>(config_.rms_norm_eps),
               normed + row * hidden);
    });
  };
  const auto add_delta = [&] {
    pool_->for_each(rows.count, [&](int64_t row) { add(delta + row * hidden, hidden, x + row * hidden); });
  };

  attention_.prepare(rows);
  embed(segments, x);
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    const LayerWeights& layer = weights_.layers[i];
    normalise(layer.input_norm);
    attention_.compute(i, layer.attention, rows, normed, delta);
    add_delta();
    normalise(layer.post_attention_norm);
    feed_forward_.compute(layer, normed, rows.count, delta);
    add_delta();
  }
  return logits(segments, x);
}

std::span<const int32_t> CpuForward::draft(std::span<const DraftSegment> /*segments*/) {
  return {};
}

void CpuForward::embed(std::span<const BatchSegment> segments, float* x) {
  for (const BatchSegment& segment : segments) {
    for (const int32_t id : segment.ids) {
      copy_row(weights_.embedding, id, x);
      x += config_.hidden_size;
    }
  }
}

std::span<const float> CpuForward::logits(std::span<const BatchSegment> segments, const float* x) {
  const int64_t hidden = config_.hidden_size;
  float* normed = normed_.data();
  int64_t row = 0;
  int64_t wanted = 0;
  for (const BatchSegment& segment : segments) {
    const auto count = static_cast<int64_t>(segment.ids.size());
    for (int64_t i = segment.logits_begin; i < count; ++i, ++wanted) {
      rms_norm(x + (row + i) * hidden, weights_.norm.data(), hidden, static_cast<float>(config_.rms_norm_eps),
               normed + wanted * hidden);
    }
    row += count;
  }
  if (wanted == 0) return {};
  float* out = logits_.at_least(wanted * config_.vocab_size);
  run_dot(*pool_, {normed, hidden, wanted, &weights_.head, out, config_.vocab_size});
  return {out, static_cast<size_t>(wanted * config_.vocab_size)};
}

}  // namespace bellwether::engine::cpu
