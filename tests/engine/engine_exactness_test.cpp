// What a sequence computes does not depend on what is computed with it, before it, or again: with the real arithmetic,
// bit for bit. RecordingForward expects it of every token that is computed a second time.
#include <gtest/gtest.h>

#include <cstring>

#include "engine/loop_driver.h"

namespace bellwether::engine {
namespace {

constexpr EngineOptions kAlone = {.threads = 1, .kv_blocks = 16};

// Logits of all tokens of a finished sequence but the last, which is not computed.
std::vector<float> logits_of(const RecordedLoop& recorded, const SequenceRequest& request, const Outcome& outcome) {
  std::vector<int32_t> ids = request.prompt_ids;
  ids.insert(ids.end(), request.output_ids.begin(), request.output_ids.end());
  ids.insert(ids.end(), outcome.ids.begin(), outcome.ids.end() - 1);
  auto logits = recorded.forward->logits(ids, std::ssize(request.prompt_ids));
  EXPECT_EQ(logits.size(), ids.size() * 61);
  return logits;
}

struct Result {
  std::vector<int32_t> ids;
  std::vector<float> logits;
};

Result run_alone(const ModelConfig& config, const SequenceRequest& request, const EngineOptions& options = kAlone) {
  const RecordedLoop alone(config, options);
  EXPECT_EQ(alone.loop->admit(request, nullptr), Admission::kAdmitted);
  Outcomes outcomes;
  drain(*alone.loop, outcomes, std::ssize(request.output_ids));
  return {outcomes[request.id].ids, logits_of(alone, request, outcomes[request.id])};
}

void expect_same(const Result& a, const Result& b) {
  EXPECT_EQ(a.ids, b.ids);
  ASSERT_EQ(a.logits.size(), b.logits.size());
  EXPECT_EQ(std::memcmp(a.logits.data(), b.logits.data(), a.logits.size() * sizeof(float)), 0);
}

// Every request's run in the crowd must be its run alone.
void expect_as_alone(const RecordedLoop& crowd, const ModelConfig& config, const std::vector<SequenceRequest>& requests,
                     Outcomes& outcomes) {
  for (const SequenceRequest& request : requests) {
    const Outcome& outcome = outcomes[request.id];
    expect_same({outcome.ids, logits_of(crowd, request, outcome)}, run_alone(config, request));
  }
}

TEST(EngineExactness, ABatchOf32DoesNotMatter) {
  for (const bool fp8 : {true, false}) {
    ModelConfig config = tiny_config();
    config.fp8_weights = fp8;
    const RecordedLoop crowd(config, {.threads = 2, .kv_blocks = 128, .batch_tokens_max = 83});
    std::vector<SequenceRequest> requests;
    Outcomes outcomes;
    for (SequenceId id = 0; id < 32; ++id) {
      requests.push_back(request_of(id, static_cast<int64_t>(id * id % 190 + 1), 60, id % 2 == 0 ? 0.0F : 1.0F));
      ASSERT_EQ(crowd.loop->admit(requests.back(), nullptr), Admission::kAdmitted);
    }
    drain(*crowd.loop, outcomes);
    size_t together = 0;
    for (const auto& batch : crowd.forward->batches()) together = std::max(together, batch.segments);
    EXPECT_EQ(together, 32U);
    expect_as_alone(crowd, config, requests, outcomes);
  }
}

TEST(EngineExactness, NeitherPiecesNorThreadsMatter) {
  const SequenceRequest request = request_of(1, 150, 8);
  const Result expected = run_alone(tiny_config(), request);
  for (const int threads : {1, 2, 3}) {
    for (const int piece : {1, 7, 64, 149}) {
      expect_same(run_alone(tiny_config(), request, {.threads = threads, .kv_blocks = 16, .batch_tokens_max = piece}),
                  expected);
    }
  }
}

TEST(EngineExactness, AResumedSequenceRepeatsAnUninterruptedOne) {
  for (const float temperature : {0.0F, 1.0F}) {
    SequenceRequest request = request_of(3, 70, 40, temperature);
    const Result whole = run_alone(tiny_config(), request);
    ASSERT_EQ(whole.ids.size(), 40U);
    for (const int64_t sent : {1, 17, 39}) {
      request.output_ids.assign(whole.ids.begin(), whole.ids.begin() + sent);
      Result resumed = run_alone(tiny_config(), request, {.threads = 2, .kv_blocks = 16, .batch_tokens_max = 33});
      resumed.ids.insert(resumed.ids.begin(), request.output_ids.begin(), request.output_ids.end());
      expect_same(resumed, whole);
    }
  }
}

TEST(EngineExactness, APrefixFoundInTheCacheDoesNotMatter) {
  const SequenceRequest first = request_of(1, 200, 100, 1.0F);
  SequenceRequest second = first;
  second.id = 2;
  second.prompt_ids.resize(180);
  second.prompt_ids.push_back(5);
  const RecordedLoop shared(tiny_config(), kAlone);
  Outcomes outcomes;
  for (const SequenceRequest& request : {first, second}) {
    ASSERT_EQ(shared.loop->admit(request, nullptr), Admission::kAdmitted);
    drain(*shared.loop, outcomes);
  }
  EXPECT_EQ(outcomes[2].cached_tokens, 128);
  expect_as_alone(shared, tiny_config(), {first, second}, outcomes);
  // Resumed where it was computed, it finds what it generated there, too.
  SequenceRequest resumed = first;
  resumed.output_ids.assign(outcomes[1].ids.begin(), outcomes[1].ids.begin() + 90);
  ASSERT_EQ(shared.loop->admit(resumed, nullptr), Admission::kAdmitted);
  const StepReport report = shared.loop->step();
  EXPECT_EQ(report.prefill_tokens, 290 - 4 * 64);
  Outcomes again;
  collect(report, again, 90);
  drain(*shared.loop, again, 90);
  EXPECT_EQ(again[1].ids, std::vector<int32_t>(outcomes[1].ids.begin() + 90, outcomes[1].ids.end()));
}

TEST(EngineExactness, BeingComputedAgainDoesNotMatter) {
  const RecordedLoop crowd(tiny_config(), {.threads = 2, .kv_blocks = 8, .batch_tokens_max = 50});
  std::vector<SequenceRequest> requests;
  for (SequenceId id = 0; id < 6; ++id) {
    requests.push_back(request_of(id, static_cast<int64_t>(20 + 17 * id), 150, id % 2 == 0 ? 0.0F : 1.0F));
    ASSERT_EQ(crowd.loop->admit(requests.back(), nullptr), Admission::kAdmitted);
  }
  Outcomes outcomes;
  EXPECT_GT(drain(*crowd.loop, outcomes).preemptions, 0);
  EXPECT_GT(crowd.forward->rows_repeated(), 0U);
  expect_as_alone(crowd, tiny_config(), requests, outcomes);
}

TEST(EngineExactness, GuessesDoNotMatter) {
  ModelConfig config = tiny_config();
  config.num_nextn_predict_layers = 1;
  for (const int draft_tokens : {1, 3}) {
    const RecordedLoop crowd(config,
                             {.threads = 2, .kv_blocks = 20, .batch_tokens_max = 64, .draft_tokens = draft_tokens});
    std::vector<SequenceRequest> requests;
    for (SequenceId id = 0; id < 6; ++id) {
      requests.push_back(request_of(id, static_cast<int64_t>(20 + 17 * id), 90, id % 2 == 0 ? 0.0F : 1.0F));
      ASSERT_EQ(crowd.loop->admit(requests.back(), nullptr), Admission::kAdmitted);
    }
    Outcomes outcomes;
    const Totals totals = drain(*crowd.loop, outcomes);
    EXPECT_GT(totals.draft_tokens, 0);
    expect_as_alone(crowd, config, requests, outcomes);
  }
}

}  // namespace
}  // namespace bellwether::engine
