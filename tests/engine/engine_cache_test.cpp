// Sequences that share blocks of the KV cache, and what the loop tells of the cache.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "engine/block_hash.h"
#include "engine/loop_driver.h"

namespace bellwether::engine {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::IsEmpty;

constexpr EngineOptions kOptions = {.threads = 1, .kv_blocks = 32, .batch_tokens_max = 64};

SequenceRequest sibling_of(SequenceRequest request, SequenceId id) {
  request.id = id;
  request.sampling.seed = id;
  return request;
}

TEST(PrefixCache, ASecondSequenceComputesOnlyWhatIsNew) {
  const FakeLoop fake(kOptions);
  Outcomes outcomes;
  SequenceRequest request = request_of(1, 200, 5);
  fake.admit(request);
  drain(*fake.loop, outcomes);
  request.id = 2;
  request.prompt_ids.push_back(3);
  fake.admit(request);
  const Totals totals = drain(*fake.loop, outcomes);
  EXPECT_EQ(totals.prefill_tokens, 201 - 192);
  EXPECT_EQ(totals.cache_query_tokens, 201);
  EXPECT_EQ(totals.cache_hit_tokens, 192);
  EXPECT_EQ(outcomes[1].cached_tokens, 0);
  EXPECT_EQ(outcomes[2].cached_tokens, 192);
  EXPECT_EQ(outcomes[2].ids, run_alone(request, kOptions).ids);
}

TEST(PrefixCache, TheLastTokenOfAPromptIsAlwaysComputed) {
  const FakeLoop fake(kOptions);
  Outcomes outcomes;
  for (const SequenceId id : {1, 2}) {
    fake.admit(sibling_of(request_of(1, 128, 5), id));
    drain(*fake.loop, outcomes);
  }
  EXPECT_EQ(outcomes[2].cached_tokens, 64);
  EXPECT_EQ(outcomes[1].ids, outcomes[2].ids);
}

// n answers to one prompt: it is computed once, and its blocks are held once.
TEST(PrefixCache, SiblingsComputeTheirPromptOnce) {
  const FakeLoop fake(kOptions);
  const SequenceRequest request = request_of(1, 200, 30, 1.0F);
  for (SequenceId id = 1; id <= 8; ++id) fake.admit(sibling_of(request, id));
  Outcomes outcomes;
  Totals totals;
  int64_t blocks_max = 0;
  while (fake.loop->has_work()) {
    const StepReport report = fake.loop->step();
    totals.add(report);
    collect(report, outcomes);
    blocks_max = std::max(blocks_max, fake.loop->load_now().kv_blocks_used);
  }
  EXPECT_EQ(totals.prefill_tokens, 200 + 7 * 8);
  EXPECT_EQ(blocks_max, 3 + 8);
  std::set<std::vector<int32_t>> texts;
  for (SequenceId id = 1; id <= 8; ++id) {
    EXPECT_EQ(outcomes[id].ids, run_alone(sibling_of(request, id), kOptions).ids);
    texts.insert(outcomes[id].ids);
  }
  EXPECT_EQ(texts.size(), 8U);
}

TEST(PrefixCache, OthersPassThoseThatWaitForABlock) {
  const FakeLoop fake({.threads = 1, .kv_blocks = 32, .batch_tokens_max = 256});
  const SequenceRequest request = request_of(1, 200, 3);
  fake.admit(request);
  fake.admit(sibling_of(request, 2));
  fake.admit(request_of(3, 8, 3));
  std::vector<SequenceId> started;
  for (const SequenceOutput& output : fake.loop->step().outputs) started.push_back(output.id);
  EXPECT_THAT(started, ElementsAre(1, 3));
  EXPECT_EQ(fake.loop->load_now().waiting, 1);
  EXPECT_EQ(fake.loop->step().prefill_tokens, 8);
  EXPECT_EQ(fake.loop->load_now().waiting, 0);
}

TEST(PrefixCache, AnotherSaltSharesNothing) {
  const FakeLoop fake(kOptions);
  Outcomes outcomes;
  SequenceRequest request = request_of(1, 200, 5);
  fake.admit(request);
  drain(*fake.loop, outcomes);
  request.cache_salt = 7;
  request.id = 2;
  fake.admit(request);
  drain(*fake.loop, outcomes);
  EXPECT_EQ(outcomes[2].cached_tokens, 0);
}

// Generated tokens are computed by the decode form: a prompt that has them inside is other arithmetic, and the fake's
// logits tell the two apart. A resumed request is the same arithmetic.
TEST(PrefixCache, GeneratedBlocksServeAResumedRequestButNoNewPrompt) {
  const FakeLoop fake(kOptions);
  Outcomes outcomes;
  const SequenceRequest request = request_of(1, 100, 200);
  fake.admit(request);
  drain(*fake.loop, outcomes);
  const std::vector<int32_t> ids = outcomes[1].ids;

  SequenceRequest resumed = request;
  resumed.id = 2;
  resumed.output_ids.assign(ids.begin(), ids.begin() + 150);
  fake.admit(resumed);
  EXPECT_EQ(drain(*fake.loop, outcomes, 150).prefill_tokens, 250 - 3 * 64);
  EXPECT_EQ(outcomes[2].ids, std::vector<int32_t>(ids.begin() + 150, ids.end()));
  EXPECT_EQ(outcomes[2].cached_tokens, 100);  // of the prompt

  SequenceRequest conversation = request_of(3, 1, 5);
  conversation.prompt_ids = request.prompt_ids;
  conversation.prompt_ids.insert(conversation.prompt_ids.end(), ids.begin(), ids.end());
  fake.admit(conversation);
  drain(*fake.loop, outcomes);
  EXPECT_EQ(outcomes[3].cached_tokens, 64);
  EXPECT_EQ(outcomes[3].ids, run_alone(conversation, kOptions).ids);
}

TEST(PrefixCache, LogprobsOfThePromptNeedThePromptComputed) {
  const FakeLoop fake({.threads = 1, .kv_blocks = 32, .batch_tokens_max = 2048});
  Outcomes outcomes;
  SequenceRequest request = request_of(1, 400, 5);
  fake.admit(request);
  drain(*fake.loop, outcomes);
  request.prompt_logprobs = 2;
  request.id = 2;
  fake.admit(request);
  EXPECT_EQ(fake.loop->step().prefill_tokens, 256);
  // The first was not collected: its logprobs are those of tokens 1 to 256.
  drain(*fake.loop, outcomes);
  EXPECT_EQ(outcomes[2].cached_tokens, 0);
  ASSERT_EQ(outcomes[2].prompt_logprobs.size(), 399U - 256);
  ASSERT_EQ(outcomes[2].prompt_top_logprobs.size(), 2 * (399U - 256));
  for (size_t i = 0; i < outcomes[2].prompt_logprobs.size(); ++i) {
    EXPECT_EQ(outcomes[2].prompt_logprobs[i].id, request.prompt_ids[257 + i]);
    EXPECT_GE(outcomes[2].prompt_top_logprobs[2 * i].logprob, outcomes[2].prompt_logprobs[i].logprob);
  }
  EXPECT_EQ(outcomes[2].ids, outcomes[1].ids);
}

TEST(PrefixCache, LogprobsOfThePromptAreReportedOnceAlthoughComputedTwice) {
  const EngineOptions options = {.threads = 1, .kv_blocks = 8, .batch_tokens_max = 64};
  SequenceRequest victim = request_of(2, 200, 20);
  victim.prompt_logprobs = 0;
  const Outcome expected = run_alone(victim, options);
  ASSERT_EQ(expected.prompt_logprobs.size(), 199U);
  const FakeLoop fake(options);
  fake.admit(victim);
  Outcomes outcomes;
  for (int step = 0; step < 2; ++step) collect(fake.loop->step(), outcomes);
  SequenceRequest urgent = request_of(1, 400, 5);
  urgent.priority = -1;
  fake.admit(urgent);
  EXPECT_EQ(drain(*fake.loop, outcomes).preemptions, 1);
  ASSERT_EQ(outcomes[2].prompt_logprobs.size(), 199U);
  for (size_t i = 0; i < 199; ++i) {
    EXPECT_EQ(outcomes[2].prompt_logprobs[i].id, expected.prompt_logprobs[i].id);
    EXPECT_EQ(outcomes[2].prompt_logprobs[i].logprob, expected.prompt_logprobs[i].logprob);
  }
  EXPECT_EQ(outcomes[2].ids, expected.ids);
}

TEST(KvEvents, NameThePromptsBlocks) {
  const FakeLoop fake(kOptions);
  const SequenceRequest request = request_of(1, 200, 100);
  fake.admit(request);
  std::vector<uint64_t> hashes;
  uint64_t parent = 0;
  while (fake.loop->has_work()) {
    for (const KvEvent& event : fake.loop->step().kv_events) {
      EXPECT_EQ(event.kind, KvEvent::Kind::kStored);
      EXPECT_EQ(event.parent_hash, parent);
      hashes.insert(hashes.end(), event.hashes.begin(), event.hashes.end());
      parent = hashes.back();
    }
  }
  ASSERT_EQ(hashes.size(), 4U);  // of 299 computed tokens
  const auto prompt_hashes = prompt_block_hashes(request.prompt_ids, 0);
  EXPECT_THAT(std::vector<uint64_t>(hashes.begin(), hashes.begin() + 3), ElementsAreArray(prompt_hashes));
  const auto dump = fake.loop->kv_dump();
  ASSERT_EQ(dump.size(), 1U);
  EXPECT_EQ(dump[0].hashes, hashes);
}

TEST(KvEvents, BeginningAnewIsOneToo) {
  const FakeLoop fake(kOptions);
  fake.admit(request_of(1, 200, 100));
  (void)fake.loop->step();
  fake.loop->begin_anew(3);
  EXPECT_FALSE(fake.loop->has_work());
  EXPECT_EQ(fake.loop->load_now().kv_blocks_used, 0);
  EXPECT_THAT(fake.loop->kv_dump(), IsEmpty());
  const StepReport report = fake.loop->step();
  ASSERT_EQ(report.kv_events.size(), 1U);
  EXPECT_EQ(report.kv_events[0].kind, KvEvent::Kind::kCleared);
  EXPECT_EQ(fake.loop->admit(request_of(1, 200, 10), nullptr), Admission::kTooLong) << "of three blocks";
  fake.loop->begin_anew(kOptions.kv_blocks);
  const SequenceRequest again = request_of(1, 200, 10);
  fake.admit(again);
  Outcomes outcomes;
  drain(*fake.loop, outcomes);
  EXPECT_EQ(outcomes[1].cached_tokens, 0);
  EXPECT_EQ(outcomes[1].ids, run_alone(again, kOptions).ids);
}

}  // namespace
}  // namespace bellwether::engine
