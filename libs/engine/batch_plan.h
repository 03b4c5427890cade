// Who computes what in the next step. A pure function of the sequences' sizes.
//
// All sequences stand in one order: priority, then arrival. Those that run hold blocks for all their known tokens; a
// step computes
// 1. one token for every sequence that decodes. One that needs a block when none is free takes it from the last in the
//    order: that one loses its blocks, waits at its old place, and is computed again later (its tokens are kept);
// 2. the guesses of the draft layer, as far as blocks are free, and only half of what is left of the budget while a
//    prompt wants it too;
// 3. prompts, in the order, in pieces if they do not fit. A waiting sequence starts when all its known tokens get
//    blocks and one more is free for each of those that run, so that it is not stopped at once. While it cannot, none
//    behind it starts. It may stop running sequences of a worse priority, but none of its own: that would only trade
//    one's wait for the other's, and what was computed would be lost.
//
// Why everyone gets to its end: the first in the order is stopped by nobody, it advances in every step in which it
// runs, and it has a number of tokens that is limited. If it waits, those that run reach their ends, or are stopped and
// then stand behind it; nobody else starts, so that it starts at the latest when none runs, for then every block is
// free, and the engine admits nothing longer than that. Then the second is the first.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace bellwether::engine {

// What the planner knows of a sequence.
struct PlanSequence {
  bool is_running = false;
  int64_t priority = 0;
  int64_t tokens_known = 0;          // prompt and output so far
  int64_t tokens_computed = 0;       // of them, in `blocks`; fewer than are known. A decode lacks one
  int64_t drafts = 0;                // guesses of what comes after the known tokens
  bool wants_prompt_logits = false;  // for every token that it computes
  std::span<const int32_t> blocks;   // that it holds; of a waiting one, those that it will share when it starts
};

struct PlanLimits {
  int64_t batch_tokens_max = 0;
  int64_t sequences_max = 0;      // running at once; <= batch_tokens_max, so that every step leaves room for a prompt
  int64_t prompt_logits_max = 0;  // tokens of sequences that want logits of their prompt, in one step
};

// The KV cache before the step.
struct PlanBlocks {
  int64_t free = 0;                  // those that nobody holds
  std::span<const int32_t> holders;  // of each block
};

// What becomes of a sequence.
struct PlannedSequence {
  bool runs = false;       // afterwards: a running one that does not was stopped, a waiting one that does starts
  int64_t tokens = 0;      // known ones to compute
  int64_t drafts = 0;      // guesses to compute after them
  int64_t blocks_new = 0;  // to take for that, beyond those in PlanSequence::blocks
};

// One for each of `sequences`, which are in order. REQUIRES: a sequence fits the cache when it has it to itself, until
// its end.
[[nodiscard]] std::vector<PlannedSequence> plan_batch(std::span<const PlanSequence> sequences, const PlanLimits& limits,
                                                      const PlanBlocks& blocks);

}  // namespace bellwether::engine
