#include "engine/cpu/output_head.h"

#include <algorithm>

namespace bellwether::engine::cpu {

OutputHead::OutputHead(const ModelConfig& config, const RankSlices& slices, const Matrix& head, ThreadPool& pool)
    : config_(config), head_(head), pool_(pool), products_(pool), rank_(slices.rank), widest_(0) {
  for (int rank = 0; rank < slices.ranks; ++rank) {
    vocabularies_.push_back(slices_of(config, rank, slices.ranks).vocabulary);
    widest_ = std::max(widest_, vocabularies_.back().size());
  }
}

float* OutputHead::multiply(const float* x, int64_t rows) {
  float* part = part_.at_least(rows * widest_);
  products_.run({x, config_.hidden_size, rows, &head_, part, widest_});
  return part;
}

std::span<const float> OutputHead::logits(const float* x, int64_t rows, Collective& group) {
  const float* part = multiply(x, rows);
  const auto ranks = std::ssize(vocabularies_);
  const auto count = static_cast<size_t>(rows * widest_);
  if (ranks == 1) return {part, count};
  const std::span parts(parts_.at_least(ranks * rows * widest_), static_cast<size_t>(ranks) * count);
  group.all_gather(std::as_bytes(std::span(part, count)), std::as_writable_bytes(parts));
  if (rank_ != 0) return {};
  float* logits = logits_.at_least(rows * config_.vocab_size);
  pool_.for_each(rows, [&](int64_t row) {
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const Slice vocabulary = vocabularies_[rank];
      std::copy_n(parts.data() + (rank * rows + row) * widest_, vocabulary.size(),
                  logits + row * config_.vocab_size + vocabulary.begin);
    }
  });
  return {logits, static_cast<size_t>(rows * config_.vocab_size)};
}

void OutputHead::most_likely(const float* x, int64_t rows, Collective& group, int32_t* ids) {
  const float* part = multiply(x, rows);
  const Slice vocabulary = vocabularies_[rank_];
  constexpr Candidate kNone{.logit = -__builtin_huge_valf(), .id = 0};
  candidate_.assign(static_cast<size_t>(rows), kNone);
  candidates_.resize(vocabularies_.size() * candidate_.size());
  if (vocabulary.size() > 0) {
    pool_.for_each(rows, [&](int64_t row) {
      const float* first = part + row * widest_;
      const float* best = std::max_element(first, first + vocabulary.size());
      candidate_[row] = {.logit = *best, .id = static_cast<int32_t>(vocabulary.begin + (best - first))};
    });
  }
  group.all_gather(std::as_bytes(std::span(candidate_)), std::as_writable_bytes(std::span(candidates_)));
  for (int64_t row = 0; row < rows; ++row) {
    Candidate best = kNone;
    for (size_t i = static_cast<size_t>(row); i < candidates_.size(); i += candidate_.size()) {
      if (candidates_[i].logit > best.logit) best = candidates_[i];
    }
    ids[row] = best.id;
  }
}

}  // namespace bellwether::engine::cpu
