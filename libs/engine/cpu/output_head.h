// From hidden states to tokens: every rank multiplies by its part of the vocabulary's matrix, together they choose.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/cpu/matmul.h"
#include "engine/cpu/matrix.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/thread_pool.h"
#include "engine/model_config.h"
#include "engine/ranks/collective.h"
#include "engine/ranks/slices.h"

namespace bellwether::engine::cpu {

class OutputHead {
 public:
  OutputHead(const ModelConfig& config, const RankSlices& slices, const Matrix& head, ThreadPool& pool);

  // The logits (rows, vocab) of x (rows, hidden), on rank 0 only; valid until the next call.
  [[nodiscard]] std::span<const float> logits(const float* x, int64_t rows, Collective& group);

  // ids (rows) = the most likely token of each row of x (rows, hidden), the lowest among equals; on every rank.
  void most_likely(const float* x, int64_t rows, Collective& group, int32_t* ids);

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };

  // part_ (rows, widest_) = this rank's logits
  float* multiply(const float* x, int64_t rows);

  const ModelConfig& config_;
  const Matrix& head_;
  ThreadPool& pool_;
  Products products_;
  int rank_;
  std::vector<Slice> vocabularies_;    // (ranks)
  int64_t widest_;                     // logits of the rank that has most
  Scratch<float> part_;                // (rows, widest_)
  Scratch<float> parts_;               // (ranks, rows, widest_)
  Scratch<float> logits_;              // (rows, vocab)
  std::vector<Candidate> candidate_;   // (rows)
  std::vector<Candidate> candidates_;  // (ranks, rows)
};

}  // namespace bellwether::engine::cpu
