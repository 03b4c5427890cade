// Which part of the model each rank of a replica computes. Attention is cut by heads, MLPs and experts by their inner
// dimension, the logits by the vocabulary; sums over ranks make whole results of them. What is small or feeds all of
// that is whole on every rank: norms, router, the low-rank projections, the embedding.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/model_config.h"

namespace bellwether::engine {

struct Slice {
  int64_t begin = 0;
  int64_t end = 0;
  [[nodiscard]] int64_t size() const { return end - begin; }
  bool operator==(const Slice&) const = default;
};

// The part of `size` that belongs to `rank`, cut at multiples of `unit`, as even as that allows; perhaps nothing.
[[nodiscard]] constexpr Slice cut(int64_t size, int64_t unit, int rank, int ranks) {
  const int64_t units = (size + unit - 1) / unit;
  return {.begin = std::min(size, units * rank / ranks * unit),
          .end = std::min(size, units * (rank + 1) / ranks * unit)};
}

// The same for rows or columns of matrices: at blocks of FP8 scales if these come out even, else at whole vectors, else
// anywhere.
[[nodiscard]] constexpr Slice cut_matrix(int64_t size, int rank, int ranks) {
  constexpr int64_t kBlock = 128;
  constexpr int64_t kVector = 16;
  if (size % (kBlock * ranks) == 0) return cut(size, kBlock, rank, ranks);
  return cut(size, size >= kVector * ranks ? kVector : 1, rank, ranks);
}

struct RankSlices {
  int rank = 0;
  int ranks = 1;
  Slice heads;        // of attention
  Slice dense;        // of intermediate_size
  Slice expert;       // of moe_intermediate_size, for every routed expert
  Slice shared;       // of the shared experts as one MLP
  Slice vocabulary;   // of the logits
  Slice draft_input;  // of the columns of the draft layer's projection, 2 * hidden_size
};

[[nodiscard]] constexpr RankSlices slices_of(const ModelConfig& config, int rank, int ranks) {
  const auto part = [&](int64_t size) { return cut_matrix(size, rank, ranks); };
  return {.rank = rank,
          .ranks = ranks,
          .heads = cut(config.num_attention_heads, 1, rank, ranks),
          .dense = part(config.intermediate_size),
          .expert = part(config.moe_intermediate_size),
          .shared = part(config.n_shared_experts * config.moe_intermediate_size),
          .vocabulary = part(config.vocab_size),
          .draft_input = part(2 * config.hidden_size)};
}

}  // namespace bellwether::engine
