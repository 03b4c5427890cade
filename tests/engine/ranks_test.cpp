// The model cut over ranks, which are threads here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "engine/flock.h"
#include "engine/ranks/fewest_blocks.h"
#include "engine/ranks/plan_message.h"
#include "engine/tiny_model.h"

namespace bellwether::engine {
namespace {

ModelConfig drafting_config() {
  ModelConfig config = tiny_config();
  config.num_nextn_predict_layers = 1;
  return config;
}

EngineOptions options_of(int ranks) {
  return {.threads = 1, .kv_blocks = 8, .batch_tokens_max = 128, .draft_tokens = 3, .ranks = ranks};
}

std::unique_ptr<Forward> forward_of(int ranks) {
  return make_forward(drafting_config(), resolve(options_of(ranks), drafting_config()));
}

std::vector<int32_t> some_ids(int64_t count, int32_t seed) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>((seed + 7 * i + i * i) % 61);
  return ids;
}

const std::vector<int32_t> kIds = some_ids(70, 3);
const std::vector<int32_t> kBlocks = {2, 5};

struct Result {
  std::vector<float> logits;  // of kIds, all but the last
  std::vector<int32_t> guesses;
};

// kIds but the last, whose prompt are the first 60, beside another sequence.
Result compute(Forward& forward) {
  const std::vector<int32_t> other = some_ids(9, 1);
  const std::vector<int32_t> other_blocks = {0};
  const auto ids = std::span(kIds).first(69);
  const std::vector<BatchSegment> batch = {
      {.ids = other, .prompt_tokens = 9, .blocks = other_blocks, .logits_begin = 9},
      {.ids = ids, .prompt_tokens = 60, .blocks = kBlocks}};
  const auto logits = forward.compute(batch);
  Result result{.logits = {logits.begin(), logits.end()}, .guesses = {}};
  const std::vector<DraftSegment> drafts = {
      {.row_begin = 9, .next_ids = std::span(kIds).subspan(1), .prompt_tokens = 60, .blocks = kBlocks, .drafts = 3}};
  const auto guesses = forward.draft(drafts);
  result.guesses.assign(guesses.begin(), guesses.end());
  return result;
}

double relative_error(std::span<const float> actual, std::span<const float> expected) {
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
    norm += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(difference / norm);
}

TEST(Ranks, ComputeWhatOneComputes) {
  const Result one = compute(*forward_of(1));
  ASSERT_EQ(one.logits.size(), 69U * 61);
  ASSERT_EQ(one.guesses.size(), 3U);
  for (const int ranks : {2, 3, 5, 16, 64}) {  // of 3 heads, an inner dimension of 24, a vocabulary of 61
    const Result several = compute(*forward_of(ranks));
    ASSERT_EQ(several.logits.size(), one.logits.size()) << ranks;
    EXPECT_LT(relative_error(several.logits, one.logits), 1e-5) << ranks;
    EXPECT_EQ(several.guesses, one.guesses) << ranks;
  }
}

// Token for token, alone, with the draft layer reading along.
TEST(Ranks, PiecesDoNotMatter) {
  for (const int ranks : {1, 4}) {
    const Result whole = compute(*forward_of(ranks));
    const auto forward = forward_of(ranks);
    Result pieces;
    for (int64_t i = 0; i < 69; ++i) {
      const std::vector<BatchSegment> batch = {{.ids = std::span(kIds).subspan(static_cast<size_t>(i), 1),
                                                .position = i,
                                                .prompt_tokens = 60,
                                                .blocks = kBlocks}};
      const auto logits = forward->compute(batch);
      pieces.logits.insert(pieces.logits.end(), logits.begin(), logits.end());
      const std::vector<DraftSegment> drafts = {{.next_ids = std::span(kIds).subspan(static_cast<size_t>(i) + 1, 1),
                                                 .position = i,
                                                 .prompt_tokens = 60,
                                                 .blocks = kBlocks,
                                                 .drafts = i % 4}};
      const auto guesses = forward->draft(drafts);
      EXPECT_EQ(std::ssize(guesses), i % 4);
    }
    ASSERT_EQ(whole.logits.size(), pieces.logits.size());
    EXPECT_EQ(std::memcmp(whole.logits.data(), pieces.logits.data(), whole.logits.size() * sizeof(float)), 0) << ranks;
  }
}

// Three times the same sequence; it wants two guesses, none, one.
TEST(Ranks, SequencesDraftBesideEachOther) {
  const auto forward = forward_of(2);
  const std::vector<std::vector<int32_t>> blocks = {{0}, {1}, {2}};
  std::vector<BatchSegment> batch;
  std::vector<DraftSegment> drafts;
  for (size_t i = 0; i < 3; ++i) {
    batch.push_back({.ids = std::span(kIds).first(40), .prompt_tokens = 40, .blocks = blocks[i], .logits_begin = 40});
    drafts.push_back({.row_begin = 40 * static_cast<int64_t>(i),
                      .next_ids = std::span(kIds).subspan(1, 40),
                      .prompt_tokens = 40,
                      .blocks = blocks[i],
                      .drafts = i == 0 ? 2 : static_cast<int64_t>(i) - 1});
  }
  (void)forward->compute(batch);
  const auto guesses = forward->draft(drafts);
  ASSERT_EQ(guesses.size(), 3U);
  EXPECT_EQ(guesses[0], guesses[2]);
}

TEST(Ranks, AFollowerJoinsGroupAfterGroup) {
  const EngineOptions options = resolve(options_of(2), drafting_config());
  EngineOptions of_follower = options;
  of_follower.rank = 1;
  const auto follower = Follower::synthetic(drafting_config(), of_follower);
  const Result expected = compute(*forward_of(2));
  ThreadGroup alone(1);
  GroupForward head(load_forward(drafting_config(), options, weights::make_synthetic_source(true), {}));
  ThreadGroup groups[] = {ThreadGroup(2), ThreadGroup(2)};
  std::thread following([&] {
    for (ThreadGroup& group : groups) follower->follow(*group.member(1));
  });
  for (ThreadGroup& group : groups) {
    EXPECT_EQ(head.join(group.member(0)), options.kv_blocks);
    EXPECT_EQ(compute(head).logits, expected.logits);
  }
  (void)head.join(alone.member(0));  // ends the second group
  following.join();
  EXPECT_EQ(follower->steps(), 2U);  // guesses are part of their step
}

// GPUs that leave different room for it.
TEST(Ranks, UseTheSmallestKvCacheAmongThem) {
  const EngineOptions options = resolve(options_of(2), drafting_config());
  EngineOptions of_follower = options;
  of_follower.rank = 1;
  of_follower.kv_blocks = 6;
  const auto follower = Follower::synthetic(drafting_config(), of_follower);
  const Result expected = compute(*forward_of(2));
  ThreadGroup group(2);
  std::thread following([&] { follower->follow(*group.member(1)); });
  {
    GroupForward head(load_forward(drafting_config(), options, weights::make_synthetic_source(true), {}));
    EXPECT_EQ(head.join(group.member(0)), 6);
    EXPECT_EQ(compute(head).logits, expected.logits);
  }
  following.join();
  ThreadGroup again(2);
  std::thread beyond([&] { EXPECT_THROW(follower->follow(*again.member(1)), GroupBroken); });
  EXPECT_EQ(fewest_blocks(*again.member(0), 8), 6);
  const std::vector<int32_t> seventh = {6};
  send_plan(*again.member(0),
            encode(std::vector<BatchSegment>{
                {.ids = std::span(kIds).first(1), .prompt_tokens = 1, .blocks = seventh, .logits_begin = 0}}));
  beyond.join();
}

TEST(Ranks, AFollowerRefusesAPlanItCannotCompute) {
  EngineOptions options = resolve(options_of(2), drafting_config());
  options.rank = 1;
  const auto follower = Follower::synthetic(drafting_config(), options);
  ThreadGroup group(2);
  const std::vector<int32_t> beyond = {61};  // of the vocabulary
  const std::vector<BatchSegment> batch = {{.ids = beyond, .prompt_tokens = 1, .blocks = kBlocks}};
  std::thread head([&] {
    (void)fewest_blocks(*group.member(0), options.kv_blocks);
    send_plan(*group.member(0), encode(batch));
  });
  EXPECT_THROW(follower->follow(*group.member(1)), GroupBroken);
  head.join();
  EXPECT_EQ(follower->steps(), 0U);
}

class PlanMessage : public testing::Test {
 protected:
  static constexpr RankPlanLimits kLimits{
      .vocab_size = 61, .kv_blocks = 8, .batch_tokens_max = 128, .draft_tokens_max = 3};
  static constexpr int64_t kRows = 69;
};

TEST_F(PlanMessage, KeepsABatch) {
  const std::vector<BatchSegment> batch = {
      {.ids = std::span(kIds).first(3), .position = 64, .prompt_tokens = 66, .blocks = kBlocks, .logits_begin = 2},
      {.ids = std::span(kIds).first(1), .prompt_tokens = 1, .blocks = kBlocks, .logits_begin = 1}};
  const std::vector<int32_t> words = encode(batch);
  const RankPlan plan = decode(words, kLimits, 0);
  EXPECT_EQ(plan.kind, RankPlan::Kind::kCompute);
  ASSERT_EQ(plan.batch.size(), 2U);
  for (size_t i = 0; i < batch.size(); ++i) {
    EXPECT_THAT(plan.batch[i].ids, testing::ElementsAreArray(batch[i].ids));
    EXPECT_THAT(plan.batch[i].blocks, testing::ElementsAreArray(batch[i].blocks));
    EXPECT_EQ(plan.batch[i].position, batch[i].position);
    EXPECT_EQ(plan.batch[i].prompt_tokens, batch[i].prompt_tokens);
    EXPECT_EQ(plan.batch[i].logits_begin, batch[i].logits_begin);
  }
}

TEST_F(PlanMessage, KeepsDrafts) {
  const std::vector<DraftSegment> drafts = {{.row_begin = 66,
                                             .next_ids = std::span(kIds).first(3),
                                             .position = 60,
                                             .prompt_tokens = 61,
                                             .blocks = kBlocks,
                                             .drafts = 3}};
  const std::vector<int32_t> words = encode(drafts);
  const RankPlan plan = decode(words, kLimits, kRows);
  EXPECT_EQ(plan.kind, RankPlan::Kind::kDraft);
  ASSERT_EQ(plan.drafts.size(), 1U);
  EXPECT_THAT(plan.drafts[0].next_ids, testing::ElementsAreArray(drafts[0].next_ids));
  EXPECT_THAT(plan.drafts[0].blocks, testing::ElementsAreArray(kBlocks));
  EXPECT_EQ(plan.drafts[0].row_begin, 66);
  EXPECT_EQ(plan.drafts[0].position, 60);
  EXPECT_EQ(plan.drafts[0].prompt_tokens, 61);
  EXPECT_EQ(plan.drafts[0].drafts, 3);
}

TEST_F(PlanMessage, RefusesWhatCannotBeComputed) {
  const auto batch_of = [](auto change) {
    BatchSegment segment{.ids = std::span(kIds).first(60), .position = 4, .prompt_tokens = 1, .blocks = kBlocks};
    change(segment);
    return encode(std::vector(3, segment));
  };
  const auto draft_of = [](auto change) {
    DraftSegment segment{.row_begin = 0, .next_ids = std::span(kIds).first(60), .blocks = kBlocks, .drafts = 1};
    change(segment);
    return encode(std::vector{segment});
  };
  static const std::vector<int32_t> kBad = {61};
  static const std::vector<int32_t> kBadBlocks = {2, 8};
  const std::vector<std::vector<int32_t>> words = {
      {},
      {9, 0},
      {static_cast<int32_t>(RankPlan::Kind::kCompute), 0},
      {static_cast<int32_t>(RankPlan::Kind::kCompute), 1, 0, 0, 2, 1},
      batch_of([](auto&) {}),  // 180 tokens
      batch_of([](BatchSegment& s) { s.ids = s.ids.first(0); }),
      batch_of([](BatchSegment& s) { s.ids = kBad; }),
      batch_of([](BatchSegment& s) { s.blocks = kBadBlocks; }),
      batch_of([](BatchSegment& s) { s.position = 69; }),
      batch_of([](BatchSegment& s) { s.position = -1; }),
      batch_of([](BatchSegment& s) { s.logits_begin = 61; }),
      draft_of([](DraftSegment& s) { s.row_begin = 10; }),
      draft_of([](DraftSegment& s) { s.next_ids = kIds; }),
      draft_of([](DraftSegment& s) { s.drafts = 4; }),
      draft_of([](DraftSegment& s) { s.position = 69; }),
      draft_of([](DraftSegment& s) { s.position = 67, s.drafts = 3; }),
  };
  for (size_t i = 0; i < words.size(); ++i) EXPECT_THROW((void)decode(words[i], kLimits, kRows), GroupBroken) << i;
  EXPECT_NO_THROW((void)decode(draft_of([](DraftSegment& s) { s.position = 66, s.drafts = 3; }), kLimits, kRows));
  std::vector<int32_t> longer = draft_of([](auto&) {});
  EXPECT_NO_THROW((void)decode(longer, kLimits, kRows));
  longer.push_back(0);
  EXPECT_THROW((void)decode(longer, kLimits, kRows), GroupBroken);
}

TEST_F(PlanMessage, TravelsAtAnyLength) {
  for (const int64_t count : {1, 510, 511, 512, 5000}) {
    const std::vector<int32_t> words = some_ids(count, 2);
    ThreadGroup group(2);
    std::thread head([&] { send_plan(*group.member(0), words); });
    EXPECT_EQ(receive_plan(*group.member(1), 5000), words);
    head.join();
  }
}

TEST_F(PlanMessage, OfMoreWordsThanAllowedIsRefused) {
  ThreadGroup group(2);
  std::thread head([&] { send_plan(*group.member(0), some_ids(101, 2)); });
  EXPECT_THROW((void)receive_plan(*group.member(1), 100), GroupBroken);
  head.join();
}

}  // namespace
}  // namespace bellwether::engine
