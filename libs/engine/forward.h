// One pass of the model over a batch: the interface that every backend implements.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace bellwether::engine {

// Consecutive tokens of one sequence, to be computed now. The spans are read during compute() only.
struct BatchSegment {
  std::span<const int32_t> ids;
  int64_t position = 0;  // of ids[0] in the sequence; all before it were computed in earlier passes
  // Positions below it use the prefill form of attention, all others the decode form, however many of either are
  // computed at once: a token's arithmetic depends on what it is, not on the batch.
  int64_t prompt_tokens = 0;
  std::span<const int32_t> blocks;  // of the KV cache, in order of position; they hold position + ids.size() tokens
  int64_t logits_begin = 0;         // logits are wanted for ids[logits_begin] and those after it
};

class Forward {
 public:
  virtual ~Forward() = default;

  // Computes every segment, writes its keys and values into its blocks, and returns the wanted logits, one row of
  // vocab_size floats for each, segment after segment; valid until the next call. Throws nothing.
  // REQUIRES: the segments hold batch_tokens_max tokens together at most, each segment one at least; ids and blocks are
  // in range.
  //
  // Each row is a fixed function of its own sequence: bit for bit the same whatever else is in the batch, in which
  // pieces the sequence was computed, and on how many threads.
  [[nodiscard]] virtual std::span<const float> compute(std::span<const BatchSegment> segments) = 0;
};

}  // namespace bellwether::engine
