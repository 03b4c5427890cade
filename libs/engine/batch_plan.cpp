#include "engine/batch_plan.h"

#include <algorithm>

namespace bellwether::engine {
namespace {

int64_t count_admissible(std::span<const PlanSequence> running, std::span<const PlanSequence> waiting,
                         const PlanLimits& limits) {
  int64_t blocks_left = limits.kv_blocks;
  for (const PlanSequence& sequence : running) blocks_left -= sequence.blocks_max;
  const int64_t places = limits.sequences_max - static_cast<int64_t>(running.size());
  int64_t admitted = 0;
  for (const PlanSequence& sequence : waiting) {
    if (admitted == places || sequence.blocks_max > blocks_left) break;
    blocks_left -= sequence.blocks_max;
    ++admitted;
  }
  return admitted;
}

}  // namespace

BatchPlan plan_batch(std::span<const PlanSequence> running, std::span<const PlanSequence> waiting,
                     const PlanLimits& limits) {
  BatchPlan plan;
  plan.admitted = count_admissible(running, waiting, limits);
  std::vector<int64_t> pending;
  for (const PlanSequence& sequence : running) pending.push_back(sequence.tokens_pending);
  for (int64_t i = 0; i < plan.admitted; ++i) pending.push_back(waiting[i].tokens_pending);

  plan.tokens.resize(pending.size());
  int64_t budget = limits.batch_tokens_max;
  for (size_t i = 0; i < pending.size(); ++i) {
    if (pending[i] != 1 || budget == 0) continue;
    plan.tokens[i] = 1;
    --budget;
  }
  for (size_t i = 0; i < pending.size(); ++i) {
    if (pending[i] == 1) continue;
    plan.tokens[i] = std::min(pending[i], budget);
    budget -= plan.tokens[i];
  }
  return plan;
}

}  // namespace bellwether::engine
