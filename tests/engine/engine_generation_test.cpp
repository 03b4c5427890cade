// Guesses, penalties and constraints, and that none of them changes what a sequence draws at which position.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "engine/loop_driver.h"

namespace bellwether::engine {
namespace {

EngineOptions drafting(int draft_tokens) {
  return {.threads = 1, .kv_blocks = 16, .batch_tokens_max = 64, .draft_tokens = draft_tokens};
}

TEST(Drafts, RightOnesSaveSteps) {
  const SequenceRequest request = request_of(1, 10, 41);
  const FakeLoop fake(drafting(3), 1.0);
  fake.admit(request);
  Outcomes outcomes;
  const Totals totals = drain(*fake.loop, outcomes);
  EXPECT_EQ(outcomes[1].ids, run_alone(request, drafting(0)).ids);
  EXPECT_EQ(fake.forward->steps(), 1 + 40 / 4);
  EXPECT_EQ(totals.draft_tokens, 30);
  EXPECT_EQ(totals.draft_tokens_accepted, 30);
  EXPECT_EQ(totals.decode_tokens, 40);
  EXPECT_EQ(totals.prefill_tokens, 10);
}

TEST(Drafts, WrongOnesChangeNothing) {
  const SequenceRequest request = request_of(1, 10, 41);
  const FakeLoop fake(drafting(3), 0.0);
  fake.admit(request);
  Outcomes outcomes;
  const Totals totals = drain(*fake.loop, outcomes);
  EXPECT_EQ(outcomes[1].ids, run_alone(request, drafting(0)).ids);
  EXPECT_EQ(totals.draft_tokens_accepted, 0);
  EXPECT_GT(totals.draft_tokens, 100);
  EXPECT_EQ(totals.decode_tokens, 40);
}

TEST(Drafts, AreNeverMoreThanCanBePutOut) {
  for (const int64_t max_tokens : {1, 2, 3, 4, 5, 6, 7}) {
    const SequenceRequest request = request_of(1, 10, max_tokens);
    const FakeLoop fake(drafting(3), 1.0);
    fake.admit(request);
    Outcomes outcomes;
    const Totals totals = drain(*fake.loop, outcomes);
    EXPECT_EQ(std::ssize(outcomes[1].ids), max_tokens);
    EXPECT_EQ(totals.draft_tokens, max_tokens - fake.forward->steps());  // each step draws one without
    EXPECT_EQ(totals.draft_tokens, totals.draft_tokens_accepted);
    EXPECT_EQ(outcomes[1].ids, run_alone(request, drafting(0)).ids);
  }
}

TEST(Drafts, AStopIdAmongThemEndsTheSequence) {
  SequenceRequest request = request_of(1, 10, 41);
  const auto unstopped = run_alone(request, drafting(0)).ids;
  for (const size_t at : {5, 6, 7, 8}) {
    request.stop_ids = {unstopped[at]};
    const Outcome expected = run_alone(request, drafting(0));
    const Outcome outcome = run_alone(request, drafting(3), 1.0);
    EXPECT_EQ(outcome.ids, expected.ids);
    EXPECT_EQ(outcome.finish, Finish::kStop);
  }
}

TEST(Drafts, AModelWithoutADraftLayerHasNone) {
  const FakeLoop fake(drafting(3));
  fake.admit(request_of(1, 10, 20));
  Outcomes outcomes;
  EXPECT_EQ(drain(*fake.loop, outcomes).draft_tokens, 0);
}

// Allows the ids of one residue class, which each accepted token chooses; notes what it was told.
class Residues final : public TokenConstraint {
 public:
  explicit Residues(std::vector<int32_t>& accepted) : accepted_(accepted) {}
  bool fill_allowed(std::span<uint64_t> allowed) override {
    for (const uint64_t bits : allowed) EXPECT_EQ(bits, 0U);
    if (state_ % 5 == 4) return false;  // every token may come
    for (int32_t id = 0; id < 61; ++id) {
      if (id % 3 == state_ % 3) allowed[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
    }
    return true;
  }
  void accept(int32_t id) override {
    state_ += id + 1;
    accepted_.push_back(id);
  }

 private:
  std::vector<int32_t>& accepted_;
  int32_t state_ = 0;
};

SequenceRequest rich_request(float temperature, std::vector<int32_t>& accepted) {
  SequenceRequest request = request_of(1, 70, 80, temperature);
  request.sampling.top_p = 0.9F;
  request.sampling.min_p = 0.01F;
  request.sampling.repetition_penalty = 1.3F;
  request.sampling.presence_penalty = 0.4F;
  request.sampling.frequency_penalty = 0.2F;
  request.sampling.logit_bias = {{7, 3.0F}, {8, -3.0F}};
  request.stop_ids = {11, 12};
  request.min_tokens = 75;
  request.constraint = std::make_shared<Residues>(accepted);
  return request;
}

TEST(Generation, ConstraintsAreTold) {
  std::vector<int32_t> accepted;
  const Outcome outcome = run_alone(rich_request(1, accepted), drafting(0));
  EXPECT_EQ(accepted, outcome.ids);
  EXPECT_GE(accepted.size(), 75U);
  int32_t state = 0;
  for (const int32_t id : accepted) {
    if (state % 5 != 4) EXPECT_EQ(id % 3, state % 3);
    state += id + 1;
  }
}

TEST(Generation, GoesOnFromAnyPointAsIfItHadNeverStopped) {
  for (const float temperature : {0.0F, 1.0F}) {
    std::vector<int32_t> accepted;
    const auto whole = run_alone(rich_request(temperature, accepted), drafting(0)).ids;
    ASSERT_GE(whole.size(), 75U);
    for (size_t sent = 1; sent < whole.size(); ++sent) {
      accepted.clear();
      SequenceRequest request = rich_request(temperature, accepted);
      // The constraint is told of them when the sequence is admitted.
      request.output_ids.assign(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(sent));
      const Outcome resumed = run_alone(request, drafting(static_cast<int>(sent % 4)), 0.5);
      ASSERT_EQ(resumed.ids, std::vector<int32_t>(whole.begin() + static_cast<ptrdiff_t>(sent), whole.end())) << sent;
      ASSERT_EQ(accepted, whole);
    }
  }
}

TEST(Generation, PreemptionNeitherTellsAConstraintTwiceNorForgetsPenalties) {
  std::vector<int32_t> accepted;
  const auto expected = run_alone(rich_request(1, accepted), drafting(2), 0.5).ids;
  accepted.clear();
  EngineOptions options = drafting(2);
  options.kv_blocks = 5;
  const FakeLoop fake(options, 0.5);
  fake.admit(rich_request(1, accepted));
  Outcomes outcomes;
  for (int step = 0; step < 20; ++step) collect(fake.loop->step(), outcomes);
  SequenceRequest urgent = request_of(2, 200, 30);
  urgent.priority = -1;
  fake.admit(urgent);
  EXPECT_EQ(drain(*fake.loop, outcomes).preemptions, 1);
  EXPECT_EQ(outcomes[1].ids, expected);
  EXPECT_EQ(outcomes[1].prefills_done, 1);
  EXPECT_EQ(accepted, expected);
}

// Any work, with cancellations, in a cache too small for it: every text is the one computed alone, nothing leaks, and
// the events tell what the cache holds.
TEST(EngineLoop, AnyWorkloadIsAsEachSequenceAlone) {
  for (uint32_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const auto draw = [&](int64_t min, int64_t max) { return std::uniform_int_distribution(min, max)(random); };
    EngineOptions options = {.threads = 1, .waiting_max = 50, .kv_blocks = draw(5, 20)};
    options.batch_tokens_max = static_cast<int>(draw(4, 150));
    options.sequences_max = static_cast<int>(draw(1, std::min(10, options.batch_tokens_max)));
    options.draft_tokens = static_cast<int>(draw(0, 3));
    const FakeLoop fake(options, static_cast<double>(draw(0, 10)) / 10);
    EngineLoop& loop = *fake.loop;
    std::map<SequenceId, SequenceRequest> live;
    std::map<SequenceId, SequenceRequest> finished;
    Outcomes outcomes;
    std::set<uint64_t> findable;
    Totals totals;
    SequenceId next = 0;
    for (int round = 0; round < 400 || loop.has_work(); ++round) {
      ASSERT_LT(round, 20000);
      if (round < 400 && draw(0, 4) == 0) {
        // One of four beginnings, so that prefixes are shared, and perhaps a resumed one.
        SequenceRequest request = request_of(next, 1, draw(1, 100), draw(0, 1) == 0 ? 0.0F : 1.0F);
        request.prompt_ids = prompt_of(draw(1, 180), static_cast<uint32_t>(draw(1, 4)));
        if (draw(0, 5) == 0) request.output_ids = prompt_of(draw(0, request.max_tokens - 1), 5);
        if (draw(0, 5) == 0) request.prompt_logprobs = 0;
        request.priority = draw(0, 2);
        request.cache_salt = static_cast<uint64_t>(draw(0, 4) / 4);
        if (loop.admit(request, nullptr) == Admission::kAdmitted) live[next++] = request;
      }
      if (!live.empty() && draw(0, 40) == 0) {
        const auto victim = std::next(live.begin(), draw(0, std::ssize(live) - 1));
        ASSERT_TRUE(loop.cancel(victim->first));
        live.erase(victim);
      }
      const StepReport report = loop.step();
      totals.add(report);
      for (const SequenceOutput& output : report.outputs) {
        ASSERT_TRUE(live.contains(output.id));
        collect({.outputs = {output}}, outcomes, std::ssize(live[output.id].output_ids));
        if (output.finish != Finish::kNone) finished.insert(live.extract(output.id));
      }
      for (const KvEvent& event : report.kv_events) {
        for (const uint64_t hash : event.hashes) {
          if (event.kind == KvEvent::Kind::kStored) {
            ASSERT_TRUE(findable.insert(hash).second);
          } else {
            ASSERT_EQ(findable.erase(hash), 1U);
          }
        }
      }
      ASSERT_LE(loop.load_now().running, options.sequences_max);
      ASSERT_EQ(loop.load_now().running + loop.load_now().waiting, std::ssize(live));
    }
    std::set<uint64_t> dumped;
    for (const KvEvent& event : loop.kv_dump()) dumped.insert(event.hashes.begin(), event.hashes.end());
    EXPECT_EQ(dumped, findable);
    EXPECT_EQ(loop.load_now().kv_blocks_used, 0);
    EXPECT_EQ(loop.load_now().tokens_pending, 0);
    EXPECT_LE(fake.forward->rows_max(), options.batch_tokens_max);
    EXPECT_GT(finished.size(), 5U);
    EXPECT_LE(totals.cache_hit_tokens, totals.cache_query_tokens);
    RecordProperty("preemptions_" + std::to_string(seed), std::to_string(totals.preemptions));
    for (const auto& [id, request] : finished) {
      const Outcome expected = run_alone(request, {.threads = 1, .kv_blocks = 20});
      ASSERT_EQ(outcomes[id].ids, expected.ids) << "sequence " << id;
      ASSERT_EQ(outcomes[id].prompt_logprobs.size(), expected.prompt_logprobs.size());
      ASSERT_EQ(outcomes[id].prefills_done, 1);
    }
  }
}

}  // namespace
}  // namespace bellwether::engine
