#include "engine/engine_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>

#include "engine/tiny_model.h"

namespace bellwether::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<int32_t> prompt_of(int64_t length, int32_t seed = 1) {
  std::mt19937 random(static_cast<uint32_t>(seed));
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < length; ++i) ids.push_back(static_cast<int32_t>(random() % 61));
  return ids;
}

SequenceRequest request_of(SequenceId id, int64_t prompt_tokens, int64_t max_tokens, float temperature = 0) {
  SequenceRequest request;
  request.id = id;
  request.prompt_ids = prompt_of(prompt_tokens, static_cast<int32_t>(id) + 1);
  request.sampling.temperature = temperature;
  request.sampling.seed = id * 1000 + 5;
  request.max_tokens = max_tokens;
  return request;
}

EngineLoop make_loop(const EngineOptions& options, const ModelConfig& config = tiny_config()) {
  const EngineOptions resolved = resolve(options, config);
  return {config, resolved, make_forward(config, resolved)};
}

constexpr EngineOptions kSmall = {.threads = 1, .kv_blocks = 16, .batch_tokens_max = 64};

struct Outcome {
  std::vector<int32_t> ids;
  Finish finish = Finish::kNone;
  int prefills_done = 0;
};

// Steps until nothing is left; indexes must follow on from each other.
std::map<SequenceId, Outcome> drain(EngineLoop& loop, std::map<SequenceId, Outcome> outcomes = {}) {
  while (loop.has_work()) {
    for (const SequenceOutput& output : loop.step().outputs) {
      Outcome& outcome = outcomes[output.id];
      outcome.ids.insert(outcome.ids.end(), output.ids.begin(), output.ids.end());
      outcome.finish = output.finish;
      outcome.prefills_done += static_cast<int>(output.prefill_done);
    }
  }
  return outcomes;
}

std::vector<int32_t> run_alone(const SequenceRequest& request, const EngineOptions& options = kSmall) {
  EngineLoop loop = make_loop(options);
  EXPECT_EQ(loop.admit(request, nullptr), Admission::kAdmitted);
  return drain(loop)[request.id].ids;
}

TEST(EngineLoop, GeneratesToItsLimit) {
  EngineLoop loop = make_loop(kSmall);
  EXPECT_FALSE(loop.has_work());
  ASSERT_EQ(loop.admit(request_of(1, 5, 7), nullptr), Admission::kAdmitted);
  EXPECT_TRUE(loop.has_work());
  EXPECT_EQ(loop.load_now().waiting, 1);
  EXPECT_EQ(loop.load_now().tokens_pending, 5);
  auto report = loop.step();
  EXPECT_EQ(report.prefill_tokens, 5);
  EXPECT_EQ(report.decode_tokens, 0);
  ASSERT_EQ(report.outputs.size(), 1U);
  EXPECT_EQ(report.outputs[0].first_index, 0);
  EXPECT_TRUE(report.outputs[0].prefill_done);
  EXPECT_EQ(loop.load_now().running, 1);
  EXPECT_EQ(loop.load_now().kv_blocks_used, 1);
  report = loop.step();
  EXPECT_EQ(report.prefill_tokens, 0);
  EXPECT_EQ(report.decode_tokens, 1);
  EXPECT_EQ(report.outputs[0].first_index, 1);
  EXPECT_FALSE(report.outputs[0].prefill_done);
  const auto outcome = drain(loop)[1];
  EXPECT_EQ(outcome.ids.size(), 5U);
  EXPECT_EQ(outcome.finish, Finish::kLength);
  EXPECT_EQ(loop.load_now().kv_blocks_used, 0);
  EXPECT_TRUE(loop.step().outputs.empty());
}

TEST(EngineLoop, StopIdsEndASequenceAndArePartOfIt) {
  SequenceRequest request = request_of(1, 9, 30);
  const auto unstopped = run_alone(request);
  request.stop_ids = {unstopped[4]};
  const auto first = std::find(unstopped.begin(), unstopped.end(), unstopped[4]);
  EngineLoop loop = make_loop(kSmall);
  ASSERT_EQ(loop.admit(request, nullptr), Admission::kAdmitted);
  const auto outcome = drain(loop)[1];
  EXPECT_EQ(outcome.ids, std::vector<int32_t>(unstopped.begin(), first + 1));
  EXPECT_EQ(outcome.finish, Finish::kStop);
}

TEST(EngineLoop, LogprobsWhenAskedFor) {
  SequenceRequest request = request_of(1, 9, 2);
  request.sampling.logprobs = true;
  request.sampling.top_logprobs = 3;
  EngineLoop loop = make_loop(kSmall);
  ASSERT_EQ(loop.admit(request, nullptr), Admission::kAdmitted);
  const auto report = loop.step();
  const SequenceOutput& output = report.outputs.at(0);
  ASSERT_EQ(output.logprobs.size(), 1U);
  ASSERT_EQ(output.top_logprobs.size(), 3U);
  EXPECT_EQ(output.logprobs[0].id, output.ids[0]);
  EXPECT_EQ(output.top_logprobs[0].id, output.ids[0]);  // greedy
  EXPECT_NEAR(output.top_logprobs[0].logprob, output.logprobs[0].logprob, 1e-6);
  EXPECT_LT(output.logprobs[0].logprob, 0);
  EXPECT_GE(output.top_logprobs[0].logprob, output.top_logprobs[1].logprob);
  EXPECT_GE(output.top_logprobs[1].logprob, output.top_logprobs[2].logprob);
}

TEST(EngineLoop, RefusalsSayWhy) {
  EngineLoop loop = make_loop({.threads = 1, .sequences_max = 2, .waiting_max = 1, .kv_blocks = 4});
  const auto expect = [&](const std::function<void(SequenceRequest&)>& spoil, Admission admission, const char* why) {
    SequenceRequest request = request_of(1, 5, 5);
    spoil(request);
    std::string reason;
    EXPECT_EQ(loop.admit(request, &reason), admission);
    EXPECT_THAT(reason, HasSubstr(why));
    EXPECT_EQ(loop.admit(request, nullptr), admission);
  };
  expect([](auto& r) { r.prompt_ids.clear(); }, Admission::kInvalid, "empty");
  expect([](auto& r) { r.prompt_ids[2] = 61; }, Admission::kInvalid, "prompt id");
  expect([](auto& r) { r.prompt_ids[2] = -1; }, Admission::kInvalid, "prompt id");
  expect([](auto& r) { r.output_ids = {61}; }, Admission::kInvalid, "output id");
  expect([](auto& r) { r.stop_ids = {-5}; }, Admission::kInvalid, "stop id");
  expect([](auto& r) { r.max_tokens = 0; }, Admission::kInvalid, "max_tokens");
  expect([](auto& r) { r.output_ids = {1, 2, 3, 4, 5}; }, Admission::kInvalid, "max_tokens");
  expect([](auto& r) { r.sampling.top_p = 2; }, Admission::kInvalid, "top_p");
  expect([](auto& r) { r.max_tokens = 508; }, Admission::kTooLong, "context of 512");
  expect([](auto& r) { r.max_tokens = std::numeric_limits<int64_t>::max(); }, Admission::kTooLong, "context of 512");
  expect([](auto& r) { r.max_tokens = 253; }, Admission::kTooLong, "KV cache of 256");
  EXPECT_FALSE(loop.has_work());
  EXPECT_EQ(loop.admit(request_of(1, 5, 252), nullptr), Admission::kAdmitted);  // just fits
  expect([](auto&) {}, Admission::kInvalid, "id");
  EXPECT_EQ(loop.admit(request_of(2, 5, 5), nullptr), Admission::kAdmitted);
  EXPECT_EQ(loop.admit(request_of(3, 5, 5), nullptr), Admission::kAdmitted);
  expect([](auto& r) { r.id = 4; }, Admission::kFull, "3 sequences");
  EXPECT_TRUE(loop.cancel(2));
  EXPECT_EQ(loop.admit(request_of(4, 5, 5), nullptr), Admission::kAdmitted);
}

TEST(EngineLoop, OptionsAreResolved) {
  const EngineOptions resolved = resolve({}, tiny_config());
  EXPECT_GE(resolved.threads, 1);
  EXPECT_EQ(resolved.kv_blocks, 512);
  EXPECT_EQ(resolved.context_tokens_max, 512);
  ModelConfig config = tiny_config();
  config.max_position_embeddings = 163840;
  EXPECT_EQ(resolve({}, config).kv_blocks, 2 * 163840 / 64);
  EXPECT_EQ(resolve({.sequences_max = 64, .batch_tokens_max = 16}, config).sequences_max, 16);
}

TEST(EngineLoop, OptionsThatCannotBeAreNamed) {
  const auto error = [](const EngineOptions& options) -> std::string {
    try {
      (void)resolve(options, tiny_config());
    } catch (const ConfigError& problem) {
      return problem.what();
    }
    return "";
  };
  EXPECT_THAT(error({.threads = -1}), HasSubstr("threads"));
  EXPECT_THAT(error({.sequences_max = 0}), HasSubstr("sequences_max"));
  EXPECT_THAT(error({.waiting_max = -1}), HasSubstr("waiting_max"));
  EXPECT_THAT(error({.kv_blocks = -1}), HasSubstr("kv_blocks"));
  EXPECT_THAT(error({.batch_tokens_max = 0}), HasSubstr("batch_tokens_max"));
  EXPECT_THAT(error({.context_tokens_max = 513}), HasSubstr("context_tokens_max"));
}

TEST(EngineLoop, CancelInTheMiddleOfAPromptFreesItsBlocks) {
  EngineLoop loop = make_loop(kSmall);
  ASSERT_EQ(loop.admit(request_of(1, 200, 10), nullptr), Admission::kAdmitted);
  const auto report = loop.step();
  EXPECT_EQ(report.prefill_tokens, 64);
  EXPECT_TRUE(report.outputs.empty());
  EXPECT_EQ(loop.load_now().kv_blocks_used, 1);
  EXPECT_EQ(loop.load_now().tokens_pending, 136);
  EXPECT_TRUE(loop.cancel(1));
  EXPECT_EQ(loop.load_now().kv_blocks_used, 0);
  EXPECT_FALSE(loop.has_work());
  EXPECT_FALSE(loop.cancel(1));
}

TEST(EngineLoop, LowerPrioritiesStartFirstAndEqualOnesInOrder) {
  EngineLoop loop = make_loop({.threads = 1, .sequences_max = 1, .kv_blocks = 16});
  for (const auto& [id, priority] : std::vector<std::pair<SequenceId, int64_t>>{{1, 5}, {2, 0}, {3, 5}, {4, -1}}) {
    SequenceRequest request = request_of(id, 3, 2);
    request.priority = priority;
    ASSERT_EQ(loop.admit(request, nullptr), Admission::kAdmitted);
  }
  std::vector<SequenceId> finished;
  while (loop.has_work()) {
    for (const SequenceOutput& output : loop.step().outputs) {
      if (output.finish != Finish::kNone) finished.push_back(output.id);
    }
  }
  EXPECT_THAT(finished, ElementsAre(4, 2, 1, 3));
}

// Exactness: what a sequence computes does not depend on what is computed with it.

void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
}

std::vector<float> logits_alone(const ModelConfig& config, const SequenceRequest& request,
                                const EngineOptions& options) {
  RecordedLoop alone(config, options);
  EXPECT_EQ(alone.loop->admit(request, nullptr), Admission::kAdmitted);
  drain(*alone.loop);
  return alone.forward->find(request.prompt_ids)->logits;
}

TEST(EngineExactness, TheBatchAroundASequenceDoesNotMatter) {
  for (const bool fp8 : {true, false}) {
    ModelConfig config = tiny_config();
    config.fp8_weights = fp8;
    std::vector<SequenceRequest> requests;
    for (SequenceId id = 0; id < 7; ++id) {
      requests.push_back(request_of(id, static_cast<int64_t>(id * id * 5 + 1), 12, id % 2 == 0 ? 0.0F : 1.0F));
    }
    RecordedLoop crowd(config, {.threads = 2, .kv_blocks = 64, .batch_tokens_max = 23});
    for (const SequenceRequest& request : requests) {
      ASSERT_EQ(crowd.loop->admit(request, nullptr), Admission::kAdmitted);
      (void)crowd.loop->step();
    }
    drain(*crowd.loop);
    size_t together = 0;
    for (const auto& batch : crowd.forward->batches()) together = std::max(together, batch.segments);
    EXPECT_GE(together, 5U);
    for (const SequenceRequest& request : requests) {
      const auto* recording = crowd.forward->find(request.prompt_ids);
      ASSERT_NE(recording, nullptr);
      expect_same_bits(recording->logits, logits_alone(config, request, {.threads = 1, .kv_blocks = 16}));
    }
  }
}

TEST(EngineExactness, NeitherPiecesNorThreadsMatter) {
  const SequenceRequest request = request_of(1, 150, 8);
  const auto expected = logits_alone(tiny_config(), request, {.threads = 1, .kv_blocks = 16});
  for (const int threads : {1, 2, 3}) {
    for (const int piece : {1, 7, 64, 149}) {
      const EngineOptions options = {.threads = threads, .kv_blocks = 16, .batch_tokens_max = piece};
      expect_same_bits(logits_alone(tiny_config(), request, options), expected);
    }
  }
}

TEST(EngineExactness, AResumedSequenceRepeatsAnUninterruptedOne) {
  for (const float temperature : {0.0F, 1.0F}) {
    SequenceRequest request = request_of(3, 70, 40, temperature);
    RecordedLoop whole(tiny_config(), kSmall);
    ASSERT_EQ(whole.loop->admit(request, nullptr), Admission::kAdmitted);
    const auto expected = drain(*whole.loop)[3].ids;
    ASSERT_EQ(expected.size(), 40U);
    for (const int64_t sent : {1, 17, 39}) {
      request.output_ids.assign(expected.begin(), expected.begin() + sent);
      RecordedLoop resumed(tiny_config(), {.threads = 2, .kv_blocks = 16, .batch_tokens_max = 33});
      ASSERT_EQ(resumed.loop->admit(request, nullptr), Admission::kAdmitted);
      int64_t first_index = -1;
      std::map<SequenceId, Outcome> outcomes;
      while (first_index < 0) {
        for (const SequenceOutput& output : resumed.loop->step().outputs) {
          first_index = output.first_index;
          outcomes[3].ids = output.ids;
          outcomes[3].prefills_done += static_cast<int>(output.prefill_done);
        }
      }
      EXPECT_EQ(first_index, sent);
      const Outcome outcome = drain(*resumed.loop, outcomes)[3];
      EXPECT_EQ(outcome.prefills_done, 1);
      EXPECT_EQ(outcome.ids, std::vector<int32_t>(expected.begin() + sent, expected.end()));
      expect_same_bits(resumed.forward->find(request.prompt_ids)->logits,
                       whole.forward->find(request.prompt_ids)->logits);
    }
  }
}

TEST(EngineLoop, BlocksNeverLeakWhateverComesAndGoes) {
  std::mt19937 random(11);
  const auto draw = [&](int64_t min, int64_t max) { return std::uniform_int_distribution(min, max)(random); };
  EngineLoop loop =
      make_loop({.threads = 2, .sequences_max = 4, .waiting_max = 6, .kv_blocks = 9, .batch_tokens_max = 40});
  std::map<SequenceId, SequenceRequest> live;
  std::map<SequenceId, Outcome> outcomes;
  std::map<SequenceId, SequenceRequest> finished;
  SequenceId next = 0;
  for (int round = 0; round < 1500; ++round) {
    const int64_t action = draw(0, 9);
    if (action < 4) {
      SequenceRequest request = request_of(next, draw(1, 200), draw(1, 40), action % 2 == 0 ? 0.0F : 0.8F);
      request.priority = draw(0, 2);
      if (loop.admit(request, nullptr) == Admission::kAdmitted) live[next++] = request;
    } else if (action == 4 && !live.empty()) {
      const auto victim = std::next(live.begin(), draw(0, std::ssize(live) - 1));
      ASSERT_TRUE(loop.cancel(victim->first));
      outcomes.erase(victim->first);
      live.erase(victim);
    } else {
      for (const SequenceOutput& output : loop.step().outputs) {
        ASSERT_TRUE(live.contains(output.id));
        Outcome& outcome = outcomes[output.id];
        ASSERT_EQ(output.first_index, std::ssize(outcome.ids));
        outcome.ids.insert(outcome.ids.end(), output.ids.begin(), output.ids.end());
        if (output.finish != Finish::kNone) finished.insert(live.extract(output.id));
      }
    }
    ASSERT_LE(loop.load_now().kv_blocks_used, 9);
    ASSERT_LE(loop.load_now().running, 4);
    ASSERT_EQ(loop.load_now().running + loop.load_now().waiting, std::ssize(live));
  }
  for (const auto& [id, request] : live) ASSERT_TRUE(loop.cancel(id));
  EXPECT_EQ(loop.load_now().kv_blocks_used, 0);
  EXPECT_EQ(loop.load_now().tokens_pending, 0);
  EXPECT_GT(finished.size(), 20U);
  int checked = 0;
  for (const auto& [id, request] : finished) {
    ASSERT_EQ(std::ssize(outcomes[id].ids), request.max_tokens);
    if (++checked <= 20) EXPECT_EQ(outcomes[id].ids, run_alone(request));
  }
}

}  // namespace
}  // namespace bellwether::engine
