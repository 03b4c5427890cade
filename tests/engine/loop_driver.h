// Requests for an engine's loop, and what came of them.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "engine/engine_loop.h"
#include "engine/fake_forward.h"
#include "engine/tiny_model.h"

namespace bellwether::engine {

inline std::vector<int32_t> prompt_of(int64_t length, uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < length; ++i) ids.push_back(static_cast<int32_t>(random() % 61));
  return ids;
}

inline SequenceRequest request_of(SequenceId id, int64_t prompt_tokens, int64_t max_tokens, float temperature = 0) {
  SequenceRequest request;
  request.id = id;
  request.prompt_ids = prompt_of(prompt_tokens, static_cast<uint32_t>(id) + 1);
  request.sampling.temperature = temperature;
  request.sampling.seed = id * 1000 + 5;
  request.max_tokens = max_tokens;
  return request;
}

// A loop around a FakeForward.
struct FakeLoop {
  explicit FakeLoop(const EngineOptions& options, double right = -1) {
    ModelConfig config = tiny_config();
    config.num_nextn_predict_layers = 1;
    const EngineOptions resolved = resolve(options, config);
    auto fake = std::make_unique<FakeForward>(FakeForward::Options{.vocab_size = config.vocab_size,
                                                                   .kv_blocks = resolved.kv_blocks,
                                                                   .batch_tokens_max = resolved.batch_tokens_max,
                                                                   .right = right});
    forward = fake.get();
    loop = std::make_unique<EngineLoop>(config, resolved, std::move(fake));
  }

  void admit(const SequenceRequest& request) const {
    std::string reason;
    ASSERT_EQ(loop->admit(request, &reason), Admission::kAdmitted) << reason;
  }

  FakeForward* forward;
  std::unique_ptr<EngineLoop> loop;
};

struct Outcome {
  std::vector<int32_t> ids;
  std::vector<TokenLogprob> logprobs;
  std::vector<TokenLogprob> prompt_logprobs;
  std::vector<TokenLogprob> prompt_top_logprobs;
  Finish finish = Finish::kNone;
  int prefills_done = 0;
  int64_t cached_tokens = 0;
};
using Outcomes = std::map<SequenceId, Outcome>;

// Indexes must follow on from each other; `outputs_given`: of each sequence that was resumed.
inline void collect(const StepReport& report, Outcomes& outcomes, int64_t outputs_given = 0) {
  for (const SequenceOutput& output : report.outputs) {
    Outcome& outcome = outcomes[output.id];
    EXPECT_EQ(outcome.finish, Finish::kNone) << "after its end";
    if (!output.ids.empty()) EXPECT_EQ(output.first_index, std::ssize(outcome.ids) + outputs_given);
    outcome.ids.insert(outcome.ids.end(), output.ids.begin(), output.ids.end());
    outcome.logprobs.insert(outcome.logprobs.end(), output.logprobs.begin(), output.logprobs.end());
    outcome.prompt_logprobs.insert(outcome.prompt_logprobs.end(), output.prompt_logprobs.begin(),
                                   output.prompt_logprobs.end());
    outcome.prompt_top_logprobs.insert(outcome.prompt_top_logprobs.end(), output.prompt_top_logprobs.begin(),
                                       output.prompt_top_logprobs.end());
    outcome.finish = output.finish;
    outcome.prefills_done += static_cast<int>(output.prefill_done);
    outcome.cached_tokens += output.cached_tokens;
  }
}

// What a run's reports add up to.
struct Totals {
  int64_t prefill_tokens = 0;
  int64_t decode_tokens = 0;
  int64_t preemptions = 0;
  int64_t cache_query_tokens = 0;
  int64_t cache_hit_tokens = 0;
  int64_t draft_tokens = 0;
  int64_t draft_tokens_accepted = 0;

  void add(const StepReport& report) {
    prefill_tokens += report.prefill_tokens;
    decode_tokens += report.decode_tokens;
    preemptions += report.preemptions;
    cache_query_tokens += report.cache_query_tokens;
    cache_hit_tokens += report.cache_hit_tokens;
    draft_tokens += report.draft_tokens;
    draft_tokens_accepted += report.draft_tokens_accepted;
  }
};

// Steps until nothing is left.
inline Totals drain(EngineLoop& loop, Outcomes& outcomes, int64_t outputs_given = 0) {
  Totals totals;
  while (loop.has_work()) {
    const StepReport report = loop.step();
    totals.add(report);
    collect(report, outcomes, outputs_given);
  }
  EXPECT_EQ(loop.load_now().kv_blocks_used, 0);
  EXPECT_EQ(loop.load_now().tokens_pending, 0);
  return totals;
}

inline Outcome run_alone(const SequenceRequest& request, const EngineOptions& options, double right = -1) {
  const FakeLoop fake(options, right);
  fake.admit(request);
  Outcomes outcomes;
  drain(*fake.loop, outcomes, std::ssize(request.output_ids));
  return outcomes[request.id];
}

}  // namespace bellwether::engine
