#include "engine/cpu/cpu_forward.h"

#include <algorithm>
#include <utility>

#include "engine/cpu/kernels.h"

namespace bellwether::engine::cpu {

CpuForward::CpuForward(ModelConfig config, ModelWeights weights, std::unique_ptr<ThreadPool> pool, int64_t kv_blocks)
    : config_(std::move(config)),
      weights_(std::move(weights)),
      pool_(std::move(pool)),
      products_(*pool_),
      attention_(config_, weights_.slices.heads.size(), config_.num_hidden_layers + (weights_.draft ? 1 : 0), *pool_,
                 kv_blocks),
      feed_forward_(config_, *pool_),
      head_(config_, weights_.slices, weights_.head, *pool_) {}

std::span<const float> CpuForward::compute(std::span<const BatchSegment> segments) {
  const BatchRows rows = rows_of(segments);
  const int64_t hidden = config_.hidden_size;
  float* x = x_.at_least(rows.count * hidden);
  work_ = {};
  attention_.prepare(rows);
  embed(segments, x);
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    const LayerWeights& layer = weights_.layers[i];
    run_layer(i, layer, rows);
    const AttentionWeights& attention = layer.attention;
    for (const Matrix* w : {&attention.q_a, &attention.q_b, &attention.kv_a, &attention.kv_b, &attention.o}) {
      count(*w, rows.count);
    }
    count(layer.router, rows.count);
    feed_forward_.add_work(work_);
  }
  float* final = final_.at_least(rows.count * hidden);
  normalise(x, weights_.norm, rows.count, final);

  float* wanted = normed_.data();
  int64_t wanted_rows = 0;
  const float* row = final;
  for (const BatchSegment& segment : segments) {
    const auto count = static_cast<int64_t>(segment.ids.size());
    const int64_t wanted_here = count - segment.logits_begin;
    std::copy_n(row + segment.logits_begin * hidden, wanted_here * hidden, wanted + wanted_rows * hidden);
    wanted_rows += wanted_here;
    row += count * hidden;
  }
  if (wanted_rows == 0) return {};
  count(weights_.head, wanted_rows);
  return head_.logits(wanted, wanted_rows, *group_);
}

void CpuForward::count(const Matrix& w, int64_t rows) {
  work_.bytes += w.bytes();
  work_.multiply_adds += rows * w.rows * w.cols;
}

// x_ goes through one layer.
void CpuForward::run_layer(int64_t index, const LayerWeights& layer, const BatchRows& rows) {
  const int64_t hidden = config_.hidden_size;
  float* x = x_.data();
  float* normed = normed_.at_least(rows.count * hidden);
  float* delta = delta_.at_least(rows.count * hidden);
  const auto add_delta = [&] {
    sum_over_ranks(delta, rows.count);
    pool_->for_each(rows.count, [&](int64_t row) { add(delta + row * hidden, hidden, x + row * hidden); });
  };
  normalise(x, layer.input_norm, rows.count, normed);
  attention_.compute(index, layer.attention, rows, normed, delta);
  add_delta();
  normalise(x, layer.post_attention_norm, rows.count, normed);
  feed_forward_.compute(layer, normed, rows.count, delta);
  add_delta();
}

void CpuForward::sum_over_ranks(float* x, int64_t rows) {
  group_->all_reduce({x, static_cast<size_t>(rows * config_.hidden_size)});
}

void CpuForward::normalise(const float* x, const std::vector<float>& weight, int64_t rows, float* y) {
  const int64_t hidden = config_.hidden_size;
  pool_->for_each(rows, [&](int64_t row) {
    rms_norm(x + row * hidden, weight.data(), hidden, static_cast<float>(config_.rms_norm_eps), y + row * hidden);
  });
}

void CpuForward::embed(std::span<const BatchSegment> segments, float* x) {
  for (const BatchSegment& segment : segments) {
    for (const int32_t id : segment.ids) {
      copy_row(weights_.embedding, id, x);
      x += config_.hidden_size;
    }
  }
}

std::span<const int32_t> CpuForward::draft(std::span<const DraftSegment> segments) {
  if (!weights_.draft) return {};
  const int64_t hidden = config_.hidden_size;
  int64_t rows = 0;
  int64_t drafts = 0;
  for (const DraftSegment& segment : segments) {
    rows += std::ssize(segment.next_ids);
    drafts += segment.drafts;
  }
  guesses_.resize(static_cast<size_t>(drafts));
  float* hidden_states = draft_hidden_.at_least(rows * hidden);
  int32_t* guesses = guesses_.data();
  drafting_.clear();
  for (const DraftSegment& segment : segments) {
    drafting_.push_back({.segment = {.ids = segment.next_ids,
                                     .position = segment.position,
                                     .prompt_tokens = segment.prompt_tokens,
                                     .blocks = segment.blocks},
                         .left = segment.drafts,
                         .guess = guesses});
    guesses += segment.drafts;
    hidden_states =
        std::copy_n(final_.data() + segment.row_begin * hidden, std::ssize(segment.next_ids) * hidden, hidden_states);
  }
  while (!drafting_.empty()) guess_next();
  return guesses_;
}

// Reads what drafting_ holds and guesses one token more of each sequence that wants one, which is then what it holds.
// The layer's own output takes the place of the main model's then, after the norm as well: of the demo model's guesses
// in chains of three 71 % were right so, 69 % with the output before the norm.
void CpuForward::guess_next() {
  run_draft_layer();
  const int64_t hidden = config_.hidden_size;
  float* normed = normed_.data();
  float* hidden_states = draft_hidden_.data();
  const float* x = x_.data();
  std::vector<int32_t*> guesses;
  std::vector<Drafting> next;
  for (Drafting& sequence : drafting_) {
    const auto rows = std::ssize(sequence.segment.ids);
    x += rows * hidden;
    if (sequence.left == 0) continue;
    float* last = normed + std::ssize(guesses) * hidden;
    normalise(x - hidden, weights_.draft->norm, 1, last);
    guesses.push_back(sequence.guess);
    if (--sequence.left == 0) continue;
    hidden_states = std::copy_n(last, hidden, hidden_states);
    sequence.segment.position += rows;
    sequence.segment.ids = {sequence.guess++, 1};
    next.push_back(sequence);
  }
  std::vector<int32_t> ids(guesses.size());
  if (!ids.empty()) head_.most_likely(normed, std::ssize(ids), *group_, ids.data());
  for (size_t i = 0; i < ids.size(); ++i) *guesses[i] = ids[i];
  drafting_ = std::move(next);
}

// x_ = the draft layer's output for the tokens of drafting_ beside draft_hidden_.
void CpuForward::run_draft_layer() {
  const DraftWeights& draft = *weights_.draft;
  const int64_t hidden = config_.hidden_size;
  std::vector<BatchSegment> segments;
  for (const Drafting& sequence : drafting_) segments.push_back(sequence.segment);
  const BatchRows rows = rows_of(segments);
  float* x = x_.at_least(rows.count * hidden);
  float* input = draft_input_.at_least(rows.count * 2 * hidden);
  embed(segments, x);
  pool_->for_each(rows.count, [&](int64_t row) {
    float* both = input + row * 2 * hidden;
    const auto epsilon = static_cast<float>(config_.rms_norm_eps);
    rms_norm(x + row * hidden, draft.embedding_norm.data(), hidden, epsilon, both);
    rms_norm(draft_hidden_.data() + row * hidden, draft.hidden_norm.data(), hidden, epsilon, both + hidden);
  });
  const int64_t first_column = weights_.slices.draft_input.begin;
  products_.run({input + first_column, 2 * hidden, rows.count, &draft.input, x, hidden});
  sum_over_ranks(x, rows.count);
  attention_.prepare(rows);
  run_layer(config_.num_hidden_layers, draft.layer, rows);
}

}  // namespace bellwether::engine::cpu
