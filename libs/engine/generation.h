// From a step's logits to a sequence's next tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/sequence.h"

namespace bellwether::engine {

// Keeps memory from one call to the next; one serves all sequences of a thread.
class Generation {
 public:
  explicit Generation(int64_t vocab_size);

  // Draws a token from each of `rows` (rows, vocab_size) until one differs from the guess that the next row was
  // computed with, or ends the sequence. Row 0 follows the last known token, row i + 1 the guess i. Appends what it
  // drew to the sequence and the output. Returns how many guesses were right.
  //
  // Each token is drawn as it would be without guesses: from logits that are the same bit for bit, with the random
  // number of its position, after the same penalties and constraint. A guess is the draft layer's likeliest token, a
  // proposal with all its probability in one point, so keeping it exactly when it equals the drawn token is rejection
  // sampling (arxiv.org/abs/2211.17192): it is kept with the probability that the model gives it, and otherwise the
  // token that replaces it is drawn from the model's distribution without it. The output is thus the same, not in
  // distribution only but token for token, with guesses and without.
  int64_t draw(Sequence& sequence, std::span<const float> rows, SequenceOutput& output);

  // Reports the prompt's tokens that follow the rows' positions, the first of which is `position`.
  void report_prompt(Sequence& sequence, int64_t position, std::span<const float> rows, SequenceOutput& output) const;

 private:
  [[nodiscard]] int32_t draw_one(const Sequence& sequence, std::span<const float> logits);

  size_t vocab_size_;
  Sampler sampler_;
  std::vector<uint64_t> allowed_;  // bit i % 64 of [i / 64]: token i may come
};

}  // namespace bellwether::engine
