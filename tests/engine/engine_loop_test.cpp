#include "engine/engine_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "engine/loop_driver.h"

namespace bellwether::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr EngineOptions kSmall = {.threads = 1, .kv_blocks = 16, .batch_tokens_max = 64};

TEST(EngineLoop, GeneratesToItsLimit) {
  const FakeLoop fake(kSmall);
  EngineLoop& loop = *fake.loop;
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
  while (loop.has_work()) report = loop.step();
  EXPECT_EQ(report.outputs.at(0).first_index, 6);
  EXPECT_EQ(report.outputs.at(0).finish, Finish::kLength);
  EXPECT_EQ(loop.load_now().kv_blocks_used, 0);
  EXPECT_TRUE(loop.step().outputs.empty());
}

TEST(EngineLoop, StopIdsEndASequenceAndArePartOfIt) {
  SequenceRequest request = request_of(1, 9, 30);
  const auto unstopped = run_alone(request, kSmall).ids;
  request.stop_ids = {unstopped[4]};
  const auto first = std::find(unstopped.begin(), unstopped.end(), unstopped[4]);
  const Outcome outcome = run_alone(request, kSmall);
  EXPECT_EQ(outcome.ids, std::vector<int32_t>(unstopped.begin(), first + 1));
  EXPECT_EQ(outcome.finish, Finish::kStop);
}

TEST(EngineLoop, NoStopIdBeforeMinTokens) {
  SequenceRequest request = request_of(1, 9, 30);
  const auto unstopped = run_alone(request, kSmall).ids;
  request.stop_ids = unstopped;
  EXPECT_EQ(run_alone(request, kSmall).ids.size(), 1U);
  request.min_tokens = 5;
  const Outcome outcome = run_alone(request, kSmall);
  EXPECT_GE(outcome.ids.size(), 5U);
  EXPECT_LT(outcome.ids.size(), 30U);
  for (size_t i = 0; i < 4; ++i) EXPECT_THAT(request.stop_ids, testing::Not(testing::Contains(outcome.ids[i])));
}

TEST(EngineLoop, LogprobsWhenAskedFor) {
  SequenceRequest request = request_of(1, 9, 2);
  request.sampling.logprobs = true;
  request.sampling.top_logprobs = 3;
  const FakeLoop fake(kSmall);
  fake.admit(request);
  const auto report = fake.loop->step();
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
  const FakeLoop fake({.threads = 1, .sequences_max = 2, .waiting_max = 1, .kv_blocks = 4});
  EngineLoop& loop = *fake.loop;
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
  expect([](auto& r) { r.sampling.logit_bias = {{61, 1.0F}}; }, Admission::kInvalid, "logit_bias");
  expect([](auto& r) { r.sampling.logit_bias = {{-1, 1.0F}}; }, Admission::kInvalid, "logit_bias");
  expect([](auto& r) { r.min_tokens = 6; }, Admission::kInvalid, "min_tokens");
  expect([](auto& r) { r.min_tokens = -1; }, Admission::kInvalid, "min_tokens");
  expect([](auto& r) { r.prompt_logprobs = 21; }, Admission::kInvalid, "prompt_logprobs");
  expect([](auto& r) { r.prompt_logprobs = -2; }, Admission::kInvalid, "prompt_logprobs");
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
  EXPECT_EQ(resolve({.draft_tokens = 2}, config).draft_tokens, 0);
  config.num_nextn_predict_layers = 1;
  EXPECT_EQ(resolve({.draft_tokens = 2}, config).draft_tokens, 2);
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
  EXPECT_THAT(error({.draft_tokens = 17}), HasSubstr("draft_tokens"));
  EXPECT_THAT(error({.kv_blocks = -1}), HasSubstr("kv_blocks"));
  EXPECT_THAT(error({.batch_tokens_max = 0}), HasSubstr("batch_tokens_max"));
  EXPECT_THAT(error({.context_tokens_max = 513}), HasSubstr("context_tokens_max"));
}

TEST(EngineLoop, CancelInTheMiddleOfAPromptFreesItsBlocks) {
  const FakeLoop fake(kSmall);
  EngineLoop& loop = *fake.loop;
  ASSERT_EQ(loop.admit(request_of(1, 200, 10), nullptr), Admission::kAdmitted);
  const auto report = loop.step();
  EXPECT_EQ(report.prefill_tokens, 64);
  EXPECT_TRUE(report.outputs.empty());
  EXPECT_EQ(loop.load_now().kv_blocks_used, 4);
  EXPECT_EQ(loop.load_now().tokens_pending, 136);
  EXPECT_TRUE(loop.cancel(1));
  EXPECT_EQ(loop.load_now().kv_blocks_used, 0);
  EXPECT_FALSE(loop.has_work());
  EXPECT_FALSE(loop.cancel(1));
}

TEST(EngineLoop, LowerPrioritiesStartFirstAndEqualOnesInOrder) {
  const FakeLoop fake({.threads = 1, .sequences_max = 1, .kv_blocks = 16});
  EngineLoop& loop = *fake.loop;
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

}  // namespace
}  // namespace bellwether::engine
