#include "engine/cpu/attention.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/cpu/kernels.h"
#include "engine/cpu/matmul.h"
#include "engine/kv_blocks.h"

namespace bellwether::engine::cpu {
namespace {

constexpr int64_t kQueryTile = 24;  // rows whose scores against one block of keys are held at once

// Rows of values are held at a length for which kernels need no special end.
int64_t padded(int64_t size) {
  return (size + 15) / 16 * 16;
}

// Calls work(first, count) for each run of decode rows that stand side by side in the batch: one product computes them.
template <class Work>
void for_each_run(const std::vector<DecodeRow>& rows, Work&& work) {
  for (int64_t first = 0, end = 0; first < std::ssize(rows); first = end) {
    for (end = first + 1; end < std::ssize(rows) && rows[end].row == rows[first].row + end - first;) ++end;
    work(first, end - first);
  }
}

}  // namespace

Attention::Attention(const ModelConfig& config, int64_t heads, int64_t layers, ThreadPool& pool, int64_t kv_blocks)
    : config_(config),
      pool_(pool),
      products_(pool),
      rope_(config),
      scale_(softmax_scale(config)),
      heads_(heads),
      kv_blocks_(kv_blocks),
      of_thread_(static_cast<size_t>(pool.threads())) {
  cache_.reserve(layers * kv_blocks * kBlockTokens * config.latent_dim());
}

void Attention::prepare(const BatchRows& rows) {
  const int64_t pairs = config_.qk_rope_head_dim / 2;
  float* cosine = cosine_.at_least(rows.count * pairs);
  float* sine = sine_.at_least(rows.count * pairs);
  pool_.for_each(rows.count,
                 [&](int64_t row) { rope_.angles(rows.positions[row], cosine + row * pairs, sine + row * pairs); });
}

void Attention::compute(int64_t layer, const AttentionWeights& weights, const BatchRows& rows, const float* x,
                        float* y) {
  const int64_t inner = heads_ * config_.v_head_dim;
  float* output = output_.at_least(rows.count * inner);
  project(weights, rows, x);
  turn_and_store(layer, weights, rows);
  if (heads_ > 0 && !rows.prefill.empty()) prefill_all(layer, weights, rows);
  if (heads_ > 0 && !rows.decode.empty()) decode_all(layer, weights, rows);
  products_.run({output, inner, rows.count, &weights.o, y, config_.hidden_size});
}

// q and kv of every row, neither turned nor, for kv, normalised.
void Attention::project(const AttentionWeights& weights, const BatchRows& rows, const float* x) {
  const int64_t hidden = config_.hidden_size;
  const int64_t rank = config_.q_lora_rank;
  const int64_t q_width = heads_ * config_.qk_head_dim();
  float* kv = kv_.at_least(rows.count * config_.latent_dim());
  float* q = q_.at_least(rows.count * q_width);
  const DotJob kv_job{x, hidden, rows.count, &weights.kv_a, kv, config_.latent_dim()};
  if (rank == 0) {
    products_.run(std::array{kv_job, DotJob{x, hidden, rows.count, &weights.q_b, q, q_width}});
    return;
  }
  float* q_latent = q_latent_.at_least(rows.count * rank);
  products_.run(std::array{kv_job, DotJob{x, hidden, rows.count, &weights.q_a, q_latent, rank}});
  pool_.for_each(rows.count, [&](int64_t row) {
    float* latent = q_latent + row * rank;
    rms_norm(latent, weights.q_a_norm.data(), rank, static_cast<float>(config_.rms_norm_eps), latent);
  });
  products_.run({q_latent, rank, rows.count, &weights.q_b, q, q_width});
}

// Turns the rotary parts by their positions, normalises the latents, and puts them into the cache.
void Attention::turn_and_store(int64_t layer, const AttentionWeights& weights, const BatchRows& rows) {
  const int64_t rank = config_.kv_lora_rank;
  const int64_t rope = config_.qk_rope_head_dim;
  const float* kv = kv_.data();
  float* q = q_.data();
  pool_.for_each(rows.count, [&](int64_t row) {
    const float* cosine = cosine_.data() + row * rope / 2;
    const float* sine = sine_.data() + row * rope / 2;
    for (int64_t head = 0; head < heads_; ++head) {
      float* q_head = q + (row * heads_ + head) * config_.qk_head_dim();
      rotate(cosine, sine, rope / 2, q_head + config_.qk_nope_head_dim);
    }
    const float* from = kv + row * config_.latent_dim();
    float* to = cached(layer, rows.blocks[row], rows.positions[row]);
    rms_norm(from, weights.kv_a_norm.data(), rank, static_cast<float>(config_.rms_norm_eps), to);
    std::memcpy(to + rank, from + rank, static_cast<size_t>(rope) * sizeof(float));
    rotate(cosine, sine, rope / 2, to + rank);
  });
}

float* Attention::cached(int64_t layer, std::span<const int32_t> blocks, int64_t position) {
  const int64_t block = layer * kv_blocks_ + blocks[position / kBlockTokens];
  return cache_.data() + (block * kBlockTokens + position % kBlockTokens) * config_.latent_dim();
}

void Attention::prefill_all(int64_t layer, const AttentionWeights& weights, const BatchRows& rows) {
  // Every task makes the keys and values of all earlier positions anew, so rows are cut no finer than the threads need.
  const int64_t cuts = std::max<int64_t>(1, pool_.threads() / (heads_ * std::ssize(rows.prefill)));
  std::vector<PrefillTask> tasks;
  for (const PrefillRows& segment : rows.prefill) {
    const int64_t piece = (segment.rows + cuts - 1) / cuts;
    for (int64_t head = 0; head < heads_; ++head) {
      for (int64_t begin = 0; begin < segment.rows; begin += piece) {
        tasks.push_back({&segment, head, begin, std::min(segment.rows, begin + piece)});
      }
    }
  }
  pool_.run(std::ssize(tasks), [&](int64_t i, int thread) { prefill(layer, weights, tasks[i], of_thread_[thread]); });
}

// Block of keys after block of keys, all rows that see the block.
void Attention::prefill(int64_t layer, const AttentionWeights& weights, const PrefillTask& task,
                        PrefillScratch& scratch) {
  const int64_t qk = config_.qk_head_dim();
  const int64_t v = config_.v_head_dim;
  const int64_t v_padded = padded(v);
  const int64_t count = task.row_end - task.row_begin;
  const int64_t first_row = task.rows->row_begin + task.row_begin;
  const int64_t first_position = task.rows->position + task.row_begin;
  float* scores = scratch.scores.at_least(kQueryTile * kBlockTokens);
  float* sums = scratch.sums.at_least(count * v_padded);
  std::fill_n(sums, count * v_padded, 0.0F);
  scratch.softmax.assign(static_cast<size_t>(count), {});

  for (int64_t begin = 0; begin < first_position + count; begin += kBlockTokens) {
    const int64_t tokens = std::min(kBlockTokens, first_position + count - begin);
    expand_block(weights, cached(layer, task.rows->blocks, begin), tokens, task.head, scratch);
    const Matrix keys = float_matrix(scratch.keys.data(), tokens, qk, qk);
    const Matrix values = float_matrix(scratch.values.data(), tokens, v_padded, v_padded);
    const int64_t seeing = std::max<int64_t>(0, begin - first_position);  // the first row that sees this block
    for (int64_t r = seeing; r < count; r += kQueryTile) {
      const int64_t tile = std::min(kQueryTile, count - r);
      const float* q = q_.data() + ((first_row + r) * heads_ + task.head) * qk;
      dot_rows(q, heads_ * qk, tile, keys, 0, tokens, scores, kBlockTokens);
      for (int64_t i = 0; i < tile; ++i) {
        const int64_t visible = std::min(tokens, first_position + r + i + 1 - begin);
        const float factor = scratch.softmax[r + i].add_block(scores + i * kBlockTokens, visible, scale_);
        if (factor != 1) scale(factor, v_padded, sums + (r + i) * v_padded);
      }
      add_weighted_rows(scores, kBlockTokens, tile, values, 0, tokens, 0, v_padded, sums + r * v_padded, v_padded);
    }
  }
  for (int64_t r = 0; r < count; ++r) {
    float* out = output_.data() + ((first_row + r) * heads_ + task.head) * v;
    std::memcpy(out, sums + r * v_padded, static_cast<size_t>(v) * sizeof(float));
    scale(1 / scratch.softmax[r].sum, v, out);
  }
}

// One head's keys and values of a block's tokens, from their latents (tokens, latent_dim).
void Attention::expand_block(const AttentionWeights& weights, const float* latents, int64_t tokens, int64_t head,
                             PrefillScratch& scratch) const {
  const int64_t nope = config_.qk_nope_head_dim;
  const int64_t qk = config_.qk_head_dim();
  const int64_t v = config_.v_head_dim;
  const int64_t v_padded = padded(v);
  const int64_t latent = config_.latent_dim();
  float* keys = scratch.keys.at_least(kBlockTokens * qk);
  float* values = scratch.values.at_least(kBlockTokens * v_padded);
  const int64_t key_row = head * (nope + v);  // of kv_b, where this head's keys begin; its values follow
  dot_rows(latents, latent, tokens, weights.kv_b, key_row, key_row + nope, keys, qk);
  dot_rows(latents, latent, tokens, weights.kv_b, key_row + nope, key_row + nope + v, values, v_padded);
  for (int64_t t = 0; t < tokens; ++t) {
    std::memcpy(keys + t * qk + nope, latents + t * latent + config_.kv_lora_rank,
                static_cast<size_t>(config_.qk_rope_head_dim) * sizeof(float));
    std::fill(values + t * v_padded + v, values + (t + 1) * v_padded, 0.0F);
  }
}

void Attention::decode_all(int64_t layer, const AttentionWeights& weights, const BatchRows& rows) {
  const auto count = static_cast<int64_t>(rows.decode.size());
  absorb_queries(weights, rows);
  latent_output_.reserve(count * heads_ * config_.kv_lora_rank);
  // Heads of one row share what they read, so they are cut no finer than the threads need.
  const int64_t pieces = std::clamp<int64_t>(pool_.threads() / count, 1, heads_);
  const int64_t piece = (heads_ + pieces - 1) / pieces;
  pool_.for_each(count * pieces, [&](int64_t task) {
    const int64_t begin = task % pieces * piece;
    const int64_t end = std::min(heads_, begin + piece);
    if (begin < end) attend_latents(layer, rows.decode[task / pieces], task / pieces, begin, end);
  });
  expand_outputs(weights, rows);
}

// The queries' unturned parts, taken to the latent space by each head's keys; their turned parts beside them.
void Attention::absorb_queries(const AttentionWeights& weights, const BatchRows& rows) {
  const int64_t nope = config_.qk_nope_head_dim;
  const int64_t rank = config_.kv_lora_rank;
  const int64_t latent = config_.latent_dim();
  const auto count = static_cast<int64_t>(rows.decode.size());
  float* absorbed = absorbed_.at_least(count * heads_ * latent);
  pool_.for_each(heads_, [&](int64_t head) {
    const int64_t key_row = head * (nope + config_.v_head_dim);
    const int64_t qk = config_.qk_head_dim();
    for_each_run(rows.decode, [&](int64_t first, int64_t run) {
      const float* q = q_.data() + (rows.decode[first].row * heads_ + head) * qk;
      float* out = absorbed + (first * heads_ + head) * latent;
      for (int64_t i = 0; i < run; ++i) {
        float* row = out + i * heads_ * latent;
        std::fill_n(row, rank, 0.0F);
        std::copy_n(q + i * heads_ * qk + nope, config_.qk_rope_head_dim, row + rank);
      }
      add_weighted_rows(q, heads_ * qk, run, weights.kv_b, key_row, key_row + nope, 0, rank, out, heads_ * latent);
    });
  });
}

// Heads [head_begin, head_end) of one row, which is number `index` among the decode rows.
void Attention::attend_latents(int64_t layer, const DecodeRow& row, int64_t index, int64_t head_begin,
                               int64_t head_end) {
  const int64_t rank = config_.kv_lora_rank;
  const int64_t latent = config_.latent_dim();
  constexpr int64_t kHeadsMax = 16;  // at a time
  for (int64_t head = head_begin; head < head_end; head += kHeadsMax) {
    const int64_t count = std::min(kHeadsMax, head_end - head);
    const float* q = absorbed_.data() + (index * heads_ + head) * latent;
    float* sums = latent_output_.data() + (index * heads_ + head) * rank;  // (count, rank)
    std::fill_n(sums, count * rank, 0.0F);
    float scores[kHeadsMax * kBlockTokens];
    RunningSoftmax softmax[kHeadsMax];
    for (int64_t position = 0; position <= row.position; position += kBlockTokens) {
      const int64_t tokens = std::min(kBlockTokens, row.position + 1 - position);
      const float* latents = cached(layer, row.blocks, position);
      dot_rows(q, latent, count, float_matrix(latents, tokens, latent, latent), 0, tokens, scores, kBlockTokens);
      for (int64_t i = 0; i < count; ++i) {
        const float factor = softmax[i].add_block(scores + i * kBlockTokens, tokens, scale_);
        if (factor != 1) scale(factor, rank, sums + i * rank);
      }
      add_weighted_rows(scores, kBlockTokens, count, float_matrix(latents, tokens, rank, latent), 0, tokens, 0, rank,
                        sums, rank);
    }
    for (int64_t i = 0; i < count; ++i) scale(1 / softmax[i].sum, rank, sums + i * rank);
  }
}

// Sums of latents to each head's values.
void Attention::expand_outputs(const AttentionWeights& weights, const BatchRows& rows) {
  const int64_t v = config_.v_head_dim;
  const int64_t rank = config_.kv_lora_rank;
  pool_.for_each(heads_, [&](int64_t head) {
    const int64_t value_row = head * (config_.qk_nope_head_dim + v) + config_.qk_nope_head_dim;
    for_each_run(rows.decode, [&](int64_t first, int64_t run) {
      float* out = output_.data() + (rows.decode[first].row * heads_ + head) * v;
      const float* sums = latent_output_.data() + (first * heads_ + head) * rank;
      dot_rows(sums, heads_ * rank, run, weights.kv_b, value_row, value_row + v, out, heads_ * v);
    });
  });
}

}  // namespace bellwether::engine::cpu
