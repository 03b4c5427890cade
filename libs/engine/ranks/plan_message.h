// What the head tells its followers to compute, as words that travel by broadcast.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/forward.h"
#include "engine/ranks/collective.h"

namespace bellwether::engine {

struct RankPlan {
  enum class Kind : int32_t { kCompute = 1, kDraft = 2, kEnd = 3 };
  Kind kind = Kind::kEnd;
  std::vector<BatchSegment> batch;   // kCompute
  std::vector<DraftSegment> drafts;  // kDraft
};

// Within which a received plan can be computed.
struct RankPlanLimits {
  int64_t vocab_size = 0;
  int64_t kv_blocks = 0;
  int64_t batch_tokens_max = 0;
  int64_t draft_tokens_max = 0;
};

[[nodiscard]] std::vector<int32_t> encode(std::span<const BatchSegment> segments);
[[nodiscard]] std::vector<int32_t> encode(std::span<const DraftSegment> segments);
[[nodiscard]] std::vector<int32_t> encode_end();

// The plan's spans point into `words`. `rows`: of the batch computed before, which a draft reads. Throws GroupBroken
// for anything that could not be computed. Pure.
[[nodiscard]] RankPlan decode(std::span<const int32_t> words, const RankPlanLimits& limits, int64_t rows);

// Broadcast of a plan of any length, from rank 0: in one message when it is short, else in two.
void send_plan(Collective& group, std::span<const int32_t> words);
// The next plan's words; waits for it. `words_max`: longer ones are refused, GroupBroken.
[[nodiscard]] std::vector<int32_t> receive_plan(Collective& group, int64_t words_max);

}  // namespace bellwether::engine
