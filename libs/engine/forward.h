// One pass of the model over a batch: the interface that every backend implements.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/ranks/collective.h"

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

// What the draft layer (multi-token prediction; DeepSeek-V3, arxiv.org/abs/2412.19437, section 2.2) is to read after
// compute(), for one sequence of that batch, and how far it is to guess on. The spans are read during draft() only.
struct DraftSegment {
  int64_t row_begin = 0;              // the batch's row of the first token; rows are counted segment after segment
  std::span<const int32_t> next_ids;  // the token that follows each of the rows from there on, known or just drawn
  int64_t position = 0;               // of the first row's token
  int64_t prompt_tokens = 0;          // as BatchSegment's
  std::span<const int32_t> blocks;    // they hold position + next_ids.size() + drafts - 1 tokens
  int64_t drafts = 0;                 // tokens to guess after the last of next_ids; 0 = only read
};

// What a pass did with the weights, to be set beside what the machine can do. With several ranks: the head's part.
struct WeightWork {
  int64_t bytes = 0;          // of the matrices read, each counted once
  int64_t multiply_adds = 0;  // with them; attention's scores and sums are not among these
};

class Forward {
 public:
  virtual ~Forward() = default;

  // Computes every segment, writes its keys and values into its blocks, and returns the wanted logits, one row of
  // vocab_size floats for each, segment after segment; valid until the next call. Throws GroupBroken
  // (ranks/collective.h) when the model is cut over ranks and one is lost, otherwise nothing.
  // REQUIRES: the segments hold batch_tokens_max tokens together at most, each segment one at least; ids and blocks are
  // in range.
  //
  // Each row is a fixed function of its own sequence: bit for bit the same whatever else is in the batch, in which
  // pieces the sequence was computed, and on how many threads. It depends on the number of ranks.
  [[nodiscard]] virtual std::span<const float> compute(std::span<const BatchSegment> segments) = 0;

  // Guesses of the tokens to come, each the draft layer's most likely: `drafts` ids for each segment, segment after
  // segment; valid until the next call. Reads what compute() left of its last batch and writes the draft layer's own
  // keys and values into the same blocks. Nothing for a model without a draft layer.
  [[nodiscard]] virtual std::span<const int32_t> draft(std::span<const DraftSegment> segments) = 0;

  // Whether draft() guesses.
  [[nodiscard]] virtual bool has_drafts() const = 0;

  // Of the last compute(); zeros from an implementation that does not count.
  [[nodiscard]] virtual WeightWork work() const { return {}; }
};

// Of a GPU, in bytes.
struct GpuMemoryUse {
  int64_t total = 0;
  int64_t weights = 0;    // these three of this process
  int64_t workspace = 0;  // what a batch needs
  int64_t kv_cache = 0;
};

// One rank's part of the pass. Every rank of a group makes the same calls; logits come out on rank 0 only.
class RankForward : public Forward {
 public:
  // Makes `group` the ranks that compute together. What was computed before is lost: the KV cache counts as empty.
  // `group` must outlive every call but the next join() and the destructor.
  virtual void join(Collective& group) = 0;

  // Blocks that its KV cache has. A group uses as many as its smallest.
  [[nodiscard]] virtual int64_t kv_blocks() const = 0;

  // Nothing on a CPU.
  [[nodiscard]] virtual std::optional<GpuMemoryUse> gpu_memory() const { return std::nullopt; }
};

}  // namespace bellwether::engine
