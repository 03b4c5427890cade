// Which tokens the next step computes. A pure function of the sequences' sizes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace bellwether::engine {

// What the planner knows of a sequence.
struct PlanSequence {
  int64_t tokens_pending = 0;  // known but not computed yet; 1 = a decode (or the end of a prompt); never 0
  int64_t blocks_max = 0;      // KV blocks it will hold at its longest
};

struct PlanLimits {
  int64_t batch_tokens_max = 0;
  int64_t sequences_max = 0;  // running at once; <= batch_tokens_max, so that every step leaves room for a prompt
  int64_t kv_blocks = 0;
};

struct BatchPlan {
  int64_t admitted = 0;         // so many from the front of `waiting` start to run
  std::vector<int64_t> tokens;  // to compute now, for each of `running` and then of the admitted; 0 = not its turn
};

// Both lists are in the order they are served: priority, then arrival. A waiting sequence starts only when the cache
// can hold every running sequence at its longest and this one too, so that none ever has to be stopped for want of
// blocks; and none overtakes one that waits before it, so that a long one does not starve. Then decodes first, then
// prompts, in pieces if they do not fit.
[[nodiscard]] BatchPlan plan_batch(std::span<const PlanSequence> running, std::span<const PlanSequence> waiting,
                                   const PlanLimits& limits);

}  // namespace bellwether::engine
