#include "engine/batch_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>

#include "engine/kv_cache.h"

namespace bellwether::engine {
namespace {

using testing::Each;
using testing::ElementsAre;

// Sequences by hand, with blocks of their own.
class Scene {
 public:
  explicit Scene(int64_t kv_blocks) : holders_(static_cast<size_t>(kv_blocks)), free_(kv_blocks) {}

  Scene& running(int64_t known, int64_t computed, int64_t drafts = 0, int64_t priority = 0) {
    add({.is_running = true,
         .priority = priority,
         .tokens_known = known,
         .tokens_computed = computed,
         .drafts = drafts,
         .blocks = {}},
        blocks_for(std::max(known - 1, computed)));
    return *this;
  }
  Scene& waiting(int64_t known, int64_t priority = 0) {
    add({.priority = priority, .tokens_known = known, .blocks = {}}, 0);
    return *this;
  }
  PlanSequence& last() { return sequences_.back(); }

  std::vector<PlannedSequence> plan(const PlanLimits& limits) {
    return plan_batch(sequences_, limits, {.free = free_, .holders = holders_});
  }

 private:
  void add(PlanSequence sequence, int64_t blocks) {
    std::vector<int32_t>& held = held_.emplace_back();
    for (int64_t i = 0; i < blocks; ++i, --free_) {
      held.push_back(static_cast<int32_t>(next_));
      holders_[next_++] = 1;
    }
    sequence.blocks = held;
    sequences_.push_back(sequence);
  }

  std::vector<PlanSequence> sequences_;
  std::deque<std::vector<int32_t>> held_;
  std::vector<int32_t> holders_;
  int64_t free_;
  size_t next_ = 0;
};

constexpr PlanLimits kRoomy = {.batch_tokens_max = 100, .sequences_max = 10, .prompt_logits_max = 100};

std::vector<int64_t> tokens_of(const std::vector<PlannedSequence>& planned) {
  std::vector<int64_t> tokens;
  for (const PlannedSequence& sequence : planned) tokens.push_back(sequence.tokens);
  return tokens;
}
std::vector<int64_t> drafts_of(const std::vector<PlannedSequence>& planned) {
  std::vector<int64_t> drafts;
  for (const PlannedSequence& sequence : planned) drafts.push_back(sequence.drafts);
  return drafts;
}
std::vector<bool> runs_of(const std::vector<PlannedSequence>& planned) {
  std::vector<bool> runs;
  for (const PlannedSequence& sequence : planned) runs.push_back(sequence.runs);
  return runs;
}

TEST(BatchPlan, NothingToDo) {
  EXPECT_TRUE(plan_batch({}, kRoomy, {}).empty());
}

TEST(BatchPlan, DecodesComeFirstWhereverTheyStand) {
  EXPECT_THAT(tokens_of(Scene(10).running(150, 0).running(8, 7).running(9, 8).plan(kRoomy)), ElementsAre(98, 1, 1));
}

TEST(BatchPlan, PromptsFillTheRestInOrder) {
  const auto planned = Scene(20).running(60, 0).running(8, 7).waiting(30).waiting(30).waiting(30).plan(kRoomy);
  EXPECT_THAT(tokens_of(planned), ElementsAre(60, 1, 30, 9, 0));
  EXPECT_THAT(runs_of(planned), ElementsAre(true, true, true, true, false));
  EXPECT_EQ(planned[3].blocks_new, 1);
}

TEST(BatchPlan, AWaitingOneNeedsBlocksForAllItKnowsAndOneForEachThatRuns) {
  EXPECT_TRUE(Scene(5).running(70, 69).waiting(128).plan(kRoomy)[1].runs);
  EXPECT_FALSE(Scene(4).running(70, 69).waiting(128).plan(kRoomy)[1].runs);
  EXPECT_TRUE(Scene(2).waiting(128).plan(kRoomy)[0].runs);
}

TEST(BatchPlan, NobodyOvertakesOneThatWaitsForRoom) {
  EXPECT_THAT(runs_of(Scene(5).running(70, 69).waiting(200).waiting(1).plan(kRoomy)), ElementsAre(true, false, false));
}

TEST(BatchPlan, StartsNoMoreThanMayRun) {
  PlanLimits limits = kRoomy;
  limits.sequences_max = 2;
  EXPECT_THAT(runs_of(Scene(9).running(5, 4).waiting(5).waiting(5).plan(limits)), ElementsAre(true, true, false));
}

TEST(BatchPlan, SharedBlocksAreNotTakenTwiceButNoLongerFree) {
  const std::vector<int32_t> shared = {0, 1};
  const std::vector<PlanSequence> both = {
      {.tokens_known = 150, .tokens_computed = 128, .blocks = shared},
      {.tokens_known = 150, .tokens_computed = 128, .blocks = shared},
  };
  const auto plan = [&](int64_t blocks) {
    const std::vector<int32_t> holders(static_cast<size_t>(blocks));
    return plan_batch(both, kRoomy, {.free = blocks, .holders = holders});
  };
  // 2 shared, one each, and one for the first to grow.
  EXPECT_THAT(runs_of(plan(5)), ElementsAre(true, true));
  EXPECT_THAT(runs_of(plan(4)), ElementsAre(true, false));
  EXPECT_EQ(plan(5)[1].blocks_new, 1);
  EXPECT_THAT(tokens_of(plan(5)), ElementsAre(22, 22));
}

TEST(BatchPlan, ADecodeThatNeedsABlockTakesTheLastOnes) {
  const auto planned = Scene(4).running(65, 64).running(20, 19).running(100, 0).plan(kRoomy);
  EXPECT_THAT(runs_of(planned), ElementsAre(true, true, false));
  EXPECT_THAT(tokens_of(planned), ElementsAre(1, 1, 0));
  EXPECT_EQ(planned[0].blocks_new, 1);
}

TEST(BatchPlan, TheLastStopsItselfRatherThanOneBeforeIt) {
  EXPECT_THAT(runs_of(Scene(2).running(20, 19).running(65, 64).plan(kRoomy)), ElementsAre(true, false));
}

TEST(BatchPlan, StoppingFreesOnlyWhatNobodyElseHolds) {
  const std::vector<int32_t> first = {0};
  const std::vector<int32_t> second = {1};
  const std::vector<int32_t> third = {1, 2};
  const std::vector<int32_t> holders = {1, 2, 1};
  const std::vector<PlanSequence> sequences = {
      {.is_running = true, .tokens_known = 65, .tokens_computed = 64, .blocks = first},
      {.is_running = true, .tokens_known = 60, .tokens_computed = 59, .blocks = second},
      {.is_running = true, .tokens_known = 70, .tokens_computed = 69, .blocks = third}};
  EXPECT_THAT(runs_of(plan_batch(sequences, kRoomy, {.free = 0, .holders = holders})), ElementsAre(true, true, false));
  const std::vector<PlanSequence> greedy = {
      {.is_running = true, .tokens_known = 65, .tokens_computed = 64, .blocks = first},
      {.is_running = true, .tokens_known = 60, .tokens_computed = 59, .blocks = second},
      {.is_running = true, .tokens_known = 60, .tokens_computed = 59, .blocks = second}};
  EXPECT_THAT(runs_of(plan_batch(greedy, kRoomy, {.free = 0, .holders = std::vector<int32_t>{1, 2}})),
              ElementsAre(true, false, false));
}

TEST(BatchPlan, NobodyOvertakesOneThatWasStopped) {
  const auto planned = Scene(6).running(65, 64).running(300, 299).waiting(5).plan(kRoomy);
  EXPECT_THAT(runs_of(planned), ElementsAre(true, false, false));
}

TEST(BatchPlan, ABetterPriorityTakesAWorseOnesPlace) {
  PlanLimits limits = kRoomy;
  limits.sequences_max = 1;
  EXPECT_THAT(runs_of(Scene(9).waiting(70, 0).running(9, 8, 0, 5).plan(limits)), ElementsAre(true, false));
  EXPECT_THAT(runs_of(Scene(9).waiting(70, 5).running(9, 8, 0, 5).plan(limits)), ElementsAre(false, true));
  // Of blocks, no more than it must.
  EXPECT_THAT(runs_of(Scene(8).waiting(128, 0).running(190, 189, 0, 5).running(190, 189, 0, 5).plan(kRoomy)),
              ElementsAre(true, true, false));
}

TEST(BatchPlan, AStoppedOneGivesBackWhatItWasToTakeInThisStep) {
  EXPECT_THAT(runs_of(Scene(2).waiting(128, 0).running(65, 64, 0, 5).plan(kRoomy)), ElementsAre(true, false));
  PlanLimits limits = kRoomy;
  limits.batch_tokens_max = 3;
  limits.sequences_max = 1;
  EXPECT_THAT(tokens_of(Scene(9).waiting(70, 0).running(9, 8, 0, 5).plan(limits)), ElementsAre(3, 0));
}

TEST(BatchPlan, NobodyIsStoppedInVain) {
  const auto planned =
      Scene(9).running(300, 299, 0, 0).waiting(400, 1).running(9, 8, 0, 5).running(9, 8, 0, 5).plan(kRoomy);
  EXPECT_THAT(runs_of(planned), ElementsAre(true, false, true, true));
}

TEST(BatchPlan, DraftsGetWhatIsLeft) {
  PlanLimits limits = kRoomy;
  limits.batch_tokens_max = 6;
  limits.sequences_max = 6;
  EXPECT_THAT(drafts_of(Scene(9).running(5, 4, 3).running(5, 4, 3).plan(limits)), ElementsAre(3, 1));
  // Half for a prompt.
  const auto planned = Scene(9).running(5, 4, 3).running(5, 4, 3).waiting(30).plan(limits);
  EXPECT_THAT(drafts_of(planned), ElementsAre(2, 0, 0));
  EXPECT_THAT(tokens_of(planned), ElementsAre(1, 1, 2));
}

TEST(BatchPlan, DraftsTakeFreeBlocksButStopNobody) {
  EXPECT_THAT(drafts_of(Scene(2).running(63, 62, 4).plan(kRoomy)), ElementsAre(4));
  EXPECT_EQ(Scene(2).running(63, 62, 4).plan(kRoomy)[0].blocks_new, 1);
  const auto planned = Scene(2).running(63, 62, 4).running(9, 8).plan(kRoomy);
  EXPECT_THAT(drafts_of(planned), ElementsAre(1, 0));
  EXPECT_THAT(runs_of(planned), Each(true));
}

TEST(BatchPlan, LogitsOfPromptsAreLimited) {
  PlanLimits limits = kRoomy;
  limits.prompt_logits_max = 10;
  Scene scene(9);
  scene.running(40, 0).last().wants_prompt_logits = true;
  scene.running(40, 0).last().wants_prompt_logits = true;
  scene.running(40, 0);
  EXPECT_THAT(tokens_of(scene.plan(limits)), ElementsAre(10, 0, 40));
}

// A world that does what the plans say: sequences of given lengths, each with a chance to have its prefix shared.
struct Live {
  int64_t id;
  int64_t priority;
  int64_t tokens_max;
  int64_t known;
  int64_t computed = 0;
  bool is_running = false;
  std::vector<int32_t> blocks = {};
};

TEST(BatchPlan, EveryoneGetsToItsEndWithinTheLimits) {
  for (uint32_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const auto draw = [&](int64_t min, int64_t max) { return std::uniform_int_distribution(min, max)(random); };
    const int64_t kv_blocks = draw(1, 12);
    PlanLimits limits{.batch_tokens_max = draw(1, 100)};
    limits.sequences_max = draw(1, std::min<int64_t>(8, limits.batch_tokens_max));
    KvCache cache(kv_blocks);
    std::vector<Live> lives;  // in order
    const int64_t total = 30;
    int64_t arrived = 0;
    int64_t stops = 0;
    int64_t first_idle = 0;
    for (int64_t step = 0; arrived < total || !lives.empty(); ++step) {
      ASSERT_LT(step, 40000);
      if (arrived < total && draw(0, 3) == 0) {
        const int64_t tokens_max = draw(1, kv_blocks * kBlockTokens);
        const Live live{
            .id = arrived++, .priority = draw(0, 2), .tokens_max = tokens_max, .known = draw(1, tokens_max)};
        lives.insert(std::ranges::upper_bound(lives, live.priority, {}, &Live::priority), live);
      }
      std::vector<PlanSequence> sequences;
      for (const Live& live : lives) {
        sequences.push_back({.is_running = live.is_running,
                             .priority = live.priority,
                             .tokens_known = live.known,
                             .tokens_computed = live.computed,
                             .drafts = live.is_running ? draw(0, 3) : 0,
                             .blocks = live.blocks});
      }
      const auto planned = plan_batch(sequences, limits, {.free = cache.free(), .holders = cache.holders()});
      ASSERT_EQ(planned.size(), lives.size());
      int64_t tokens = 0;
      int64_t running = 0;
      bool has_waiting = false;
      for (size_t i = 0; i < lives.size(); ++i) {
        tokens += planned[i].tokens + planned[i].drafts;
        running += static_cast<int64_t>(planned[i].runs);
        ASSERT_GE(planned[i].tokens, 0);
        ASSERT_LE(planned[i].tokens, lives[i].known - lives[i].computed);
        ASSERT_TRUE(planned[i].runs || planned[i].tokens + planned[i].drafts + planned[i].blocks_new == 0);
        if (planned[i].runs && !lives[i].is_running) ASSERT_FALSE(has_waiting) << "it overtakes";
        has_waiting |= !planned[i].runs;
        if (!planned[i].runs && lives[i].is_running) {
          ++stops;
          cache.release(lives[i].blocks);
          lives[i].blocks.clear();
          lives[i].computed = 0;
        }
        lives[i].is_running = planned[i].runs;
      }
      ASSERT_LE(tokens, limits.batch_tokens_max);
      ASSERT_LE(running, limits.sequences_max);
      // The first advances when it runs; when it does not, the first that runs does.
      const auto first = std::ranges::find_if(lives, &Live::is_running);
      if (first != lives.end()) ASSERT_GT(planned[first - lives.begin()].tokens, 0);
      ASSERT_TRUE(lives.empty() || first != lives.end());
      for (size_t i = 0; i < lives.size(); ++i) {
        for (int64_t k = 0; k < planned[i].blocks_new; ++k) lives[i].blocks.push_back(cache.take());  // or it aborts
        ASSERT_GE(std::ssize(lives[i].blocks) * kBlockTokens,
                  lives[i].computed + planned[i].tokens + planned[i].drafts);
        lives[i].computed += planned[i].tokens;
        if (lives[i].is_running && lives[i].computed == lives[i].known) ++lives[i].known;
      }
      std::erase_if(lives, [&](const Live& live) {
        if (live.known <= live.tokens_max) return false;
        cache.release(live.blocks);
        return true;
      });
      first_idle = cache.used();
    }
    EXPECT_EQ(first_idle, 0);
    RecordProperty("stops_" + std::to_string(seed), std::to_string(stops));
  }
}

}  // namespace
}  // namespace bellwether::engine
