// The engine against logits and greedy continuations made by transformers in float32 (tools/demo-model/check.py and
// variants.py), each sequence alone and all of them interleaved in batches that cut their prompts in pieces.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <numeric>

#include "engine/cpu/amx.h"
#include "engine/rank_processes.h"
#include "engine/reference_cases.h"
#include "engine/tiny_model.h"

namespace bellwether::engine {
namespace {

// Makes an engine whose forward pass records: of the demo model, or of a synthetic one.
using MakeLoop = std::function<RecordedLoop(const EngineOptions&)>;

RecordedLoop load_nano(const EngineOptions& options) {
  const ModelConfig config = parse_model_config(read(BELLWETHER_DEMO_MODEL "/config.json"));
  return RecordedLoop(config, options, BELLWETHER_DEMO_MODEL);
}

// One more token than the reference has, so that the last one's logits are computed too.
SequenceRequest request_of(const Case& entry, SequenceId id) {
  return {.id = id,
          .prompt_ids = entry.prompt_ids,
          .sampling = {.temperature = 0, .logprobs = true},
          .max_tokens = std::ssize(entry.greedy_ids) + 1};
}

struct Outcome {
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
  std::vector<float> logits;  // (prompt + greedy ids, vocab)
};

struct Drafts {
  int64_t guessed = 0;
  int64_t right = 0;
};

void collect(const StepReport& report, std::vector<Outcome>& outcomes) {
  for (const SequenceOutput& output : report.outputs) {
    Outcome& outcome = outcomes[output.id];
    outcome.ids.insert(outcome.ids.end(), output.ids.begin(), output.ids.end());
    for (const TokenLogprob& logprob : output.logprobs) outcome.logprobs.push_back(logprob.logprob);
  }
}

// Of all tokens but the last, which is not computed.
std::vector<float> logits_of(const RecordedLoop& recorded, const Case& entry, const Outcome& outcome) {
  std::vector<int32_t> ids = entry.prompt_ids;
  ids.insert(ids.end(), outcome.ids.begin(), outcome.ids.end() - 1);
  return recorded.forward->logits(ids, std::ssize(entry.prompt_ids));
}

std::vector<Outcome> run_interleaved(const MakeLoop& make, const std::vector<Case>& cases, const EngineOptions& options,
                                     Drafts* drafts = nullptr) {
  RecordedLoop recorded = make(options);
  std::vector<Outcome> outcomes(cases.size());
  size_t arrived = 0;
  for (int step = 0; arrived < cases.size() || recorded.loop->has_work(); ++step) {
    if (step % 2 == 0 && arrived < cases.size()) {
      EXPECT_EQ(recorded.loop->admit(request_of(cases[arrived], arrived), nullptr), Admission::kAdmitted);
      ++arrived;
    }
    const StepReport report = recorded.loop->step();
    collect(report, outcomes);
    if (drafts == nullptr) continue;
    drafts->guessed += report.draft_tokens;
    drafts->right += report.draft_tokens_accepted;
  }
  size_t together = 0;
  for (const auto& batch : recorded.forward->batches()) together = std::max(together, batch.segments);
  EXPECT_GE(together, std::min<size_t>(4, cases.size()));
  for (size_t i = 0; i < cases.size(); ++i) {
    outcomes[i].logits = logits_of(recorded, cases[i], outcomes[i]);
  }
  return outcomes;
}

std::vector<Outcome> run_alone(const MakeLoop& make, const std::vector<Case>& cases, const EngineOptions& options) {
  std::vector<Outcome> outcomes(cases.size());
  RecordedLoop recorded = make(options);
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(recorded.loop->admit(request_of(cases[i], i), nullptr), Admission::kAdmitted);
    while (recorded.loop->has_work()) collect(recorded.loop->step(), outcomes);
    outcomes[i].logits = logits_of(recorded, cases[i], outcomes[i]);
  }
  return outcomes;
}

void expect_same_bits(const std::vector<Outcome>& a, const std::vector<Outcome>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].logits.size(), b[i].logits.size()) << "case " << i;
    EXPECT_EQ(std::memcmp(a[i].logits.data(), b[i].logits.data(), a[i].logits.size() * sizeof(float)), 0)
        << "case " << i;
    EXPECT_EQ(a[i].ids, b[i].ids) << "case " << i;
  }
}

void expect_greedy(const Case& entry, const Outcome& outcome) {
  ASSERT_EQ(outcome.ids.size(), entry.greedy_ids.size() + 1);
  EXPECT_TRUE(std::equal(entry.greedy_ids.begin(), entry.greedy_ids.end(), outcome.ids.begin()));
  for (size_t i = 0; i < entry.greedy_logprobs.size(); ++i) {
    EXPECT_NEAR(outcome.logprobs[i], entry.greedy_logprobs[i], 1e-3) << "token " << i;
  }
}

// How the model is computed.
struct Cut {
  int ranks;
  int draft_tokens;
};

std::string name_of(const Cut& cut) {
  return std::to_string(cut.ranks) + "Ranks" + std::to_string(cut.draft_tokens) + "Drafts";
}

class Nano : public testing::TestWithParam<Cut> {
 protected:
  const std::vector<Case> cases_ = cases_of(BELLWETHER_TEST_DATA "/nano/reference.json");
};

// Alone without drafts, then interleaved with them.
TEST_P(Nano, AnswersAsTransformersDoes) {
  const auto [ranks, draft_tokens] = GetParam();
  ASSERT_EQ(cases_.size(), 11U);
  const auto alone = run_alone(load_nano, cases_, {.threads = 1, .ranks = ranks});
  for (size_t i = 0; i < cases_.size(); ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    expect_greedy(cases_[i], alone[i]);
  }
  for (size_t i = 0; i < 3; ++i) {
    const auto expected =
        reference_logits(BELLWETHER_TEST_DATA "/nano/reference.safetensors", "logits." + std::to_string(i));
    const double error = relative_error(std::span(alone[i].logits).first(expected.size()), expected);
    RecordProperty("relative_error_" + std::to_string(i), std::to_string(error));
    EXPECT_LT(error, 1e-3);
  }
  Drafts drafts;
  const int threads = ranks == 1 ? 2 : 1;  // ranks are threads already
  const EngineOptions together{
      .threads = threads, .batch_tokens_max = 100, .draft_tokens = draft_tokens, .ranks = ranks};
  expect_same_bits(alone, run_interleaved(load_nano, cases_, together, &drafts));
  if (draft_tokens == 0) return;
  const double acceptance = static_cast<double>(drafts.right) / static_cast<double>(drafts.guessed);
  RecordProperty("acceptance", std::to_string(acceptance));
  EXPECT_GT(acceptance, draft_tokens == 1 ? 0.95 : 0.65);
}

INSTANTIATE_TEST_SUITE_P(Cuts, Nano, testing::Values(Cut{1, 0}, Cut{1, 3}, Cut{2, 1}, Cut{4, 0}, Cut{4, 2}),
                         [](const auto& info) { return name_of(info.param); });

// What a CPU without a matrix unit computes, and that this one has computed otherwise if it has one.
TEST(NanoAlone, AnswersAsTransformersDoesWithoutAmx) {
  const auto cases = cases_of(BELLWETHER_TEST_DATA "/nano/reference.json");
  const bool has_amx = cpu::amx::enabled();
  const auto usual = run_alone(load_nano, cases, {.threads = 1});
  cpu::amx::set_enabled(false);
  const auto plain = run_alone(load_nano, cases, {.threads = 1});
  cpu::amx::set_enabled(has_amx);
  bool is_same = true;
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    expect_greedy(cases[i], plain[i]);
    is_same &= usual[i].logits == plain[i].logits;
  }
  EXPECT_NE(is_same, has_amx);
}

TEST(NanoAlone, ThreadsDoNotMatter) {
  const auto all = cases_of(BELLWETHER_TEST_DATA "/nano/reference.json");
  const std::vector<Case> cases = {all[0], all[10]};
  const auto one = run_alone(load_nano, cases, {.threads = 1});
  for (const int threads : {2, 3}) expect_same_bits(one, run_alone(load_nano, cases, {.threads = threads}));
}

// The draft layer's guess after each token, one at a time, from the prompt on.
std::vector<int32_t> guesses_after(Forward& forward, const Case& entry) {
  std::vector<int32_t> ids = entry.prompt_ids;
  ids.insert(ids.end(), entry.greedy_ids.begin(), entry.greedy_ids.end());
  std::vector<int32_t> blocks(static_cast<size_t>(blocks_for(std::ssize(ids))));
  std::iota(blocks.begin(), blocks.end(), 0);
  const int64_t prompt = std::ssize(entry.prompt_ids);
  std::vector<int32_t> guesses;
  int64_t begin = 0;
  for (size_t k = 0; k < entry.draft_ids.size(); ++k) {
    const int64_t end = prompt + static_cast<int64_t>(k);  // tokens that are read now, but for the first time
    const auto now = std::span(ids).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    const std::vector<BatchSegment> batch = {
        {.ids = now, .position = begin, .prompt_tokens = prompt, .blocks = blocks, .logits_begin = end - begin}};
    EXPECT_TRUE(forward.compute(batch).empty());
    const std::vector<DraftSegment> drafts = {
        {.next_ids = std::span(ids).subspan(static_cast<size_t>(begin) + 1, now.size()),
         .position = begin,
         .prompt_tokens = prompt,
         .blocks = blocks,
         .drafts = 1}};
    guesses.push_back(forward.draft(drafts)[0]);
    begin = end;
  }
  return guesses;
}

TEST(NanoDrafts, AreThoseOfTheTrainingCode) {
  const ModelConfig config = parse_model_config(read(BELLWETHER_DEMO_MODEL "/config.json"));
  for (const int ranks : {1, 2}) {
    const EngineOptions options = resolve({.threads = 1, .draft_tokens = 1, .ranks = ranks}, config);
    const auto forward = make_forward(config, options, BELLWETHER_DEMO_MODEL);
    ASSERT_TRUE(forward->has_drafts());
    for (const Case& entry : cases_of(BELLWETHER_TEST_DATA "/nano/reference.json")) {
      EXPECT_EQ(guesses_after(*forward, entry), entry.draft_ids) << ranks << " ranks";
    }
  }
}

// Processes that only UCX connects: rank 0 is an engine, the others follow.
std::string run_rank(std::unique_ptr<UcxCollective>& group, const std::vector<Case>& cases) {
  EngineOptions options{.threads = 1, .batch_tokens_max = 100, .draft_tokens = 2};
  options.ranks = group->ranks();
  options.rank = group->rank();
  if (options.rank > 0) {
    const auto follower = Follower::load(BELLWETHER_DEMO_MODEL, options);
    follower->follow(*group);
    return follower->steps() > 0 ? "followed" : "had nothing to do";
  }
  const auto engine = Engine::load(BELLWETHER_DEMO_MODEL, options);
  engine->join(std::move(group));
  std::vector<Outcome> outcomes(cases.size());
  for (size_t i = 0; i < cases.size(); ++i) (void)engine->admit(request_of(cases[i], i));
  while (engine->has_work()) collect(engine->step(), outcomes);
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto& expected = cases[i].greedy_ids;
    if (!std::equal(expected.begin(), expected.end(), outcomes[i].ids.begin(), outcomes[i].ids.end() - 1)) {
      return "case " + std::to_string(i) + " has another answer";
    }
  }
  return "as expected";
}

TEST(NanoProcesses, AnswerAsTransformersDoes) {
  const auto all = cases_of(BELLWETHER_TEST_DATA "/nano/reference.json");
  const std::vector<Case> cases = {all[0], all[8], all[10]};
  for (const int count : {2, 4}) {
    const RankProcesses ranks(count, [&](auto& group, const StringPipe&) { return run_rank(group, cases); },
                              {.connect = std::chrono::seconds(60), .progress = std::chrono::seconds(30)});
    EXPECT_EQ(ranks.pipe(0).receive(), "as expected");
    for (int rank = 1; rank < count; ++rank) EXPECT_EQ(ranks.pipe(rank).receive(), "followed");
  }
}

struct Variant {
  const char* name;
  Cut cut;
};

class Variants : public testing::TestWithParam<Variant> {};

// The draft layer of the models that have none is made up too: what it guesses is wrong, and must not matter.
TEST_P(Variants, ComputesAsTransformersDoes) {
  const auto [name, cut] = GetParam();
  const std::string folder = std::string(BELLWETHER_TEST_DATA "/synthetic/") + name;
  const auto cases = cases_of(folder + "/reference.json");
  ASSERT_EQ(cases.size(), 4U);
  ModelConfig config = parse_model_config(read(folder + "/config.json"));
  config.num_nextn_predict_layers = 1;
  const MakeLoop make = [&](const EngineOptions& options) { return RecordedLoop(config, options); };
  const auto alone = run_alone(make, cases, {.threads = 1, .ranks = cut.ranks});
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    EXPECT_GT(cases[i].smallest_gap, 1e-3);  // far above the errors allowed below, so that no greedy token may differ
    expect_greedy(cases[i], alone[i]);
    const auto expected = reference_logits(folder + "/reference.safetensors", "logits." + std::to_string(i));
    ASSERT_GE(alone[i].logits.size(), expected.size());
    const double error = relative_error(std::span(alone[i].logits).last(expected.size()), expected);
    RecordProperty("relative_error_" + std::to_string(i), std::to_string(error));
    EXPECT_LT(error, 1e-4);
  }
  const EngineOptions together{
      .threads = cut.ranks == 1 ? 3 : 1, .batch_tokens_max = 50, .draft_tokens = cut.draft_tokens, .ranks = cut.ranks};
  expect_same_bits(alone, run_interleaved(make, cases, together));
}

INSTANTIATE_TEST_SUITE_P(Synthetic, Variants,
                         testing::Values(Variant{"wide", {1, 0}}, Variant{"wide", {1, 2}}, Variant{"wide", {2, 0}},
                                         Variant{"wide", {4, 1}}, Variant{"wide", {16, 0}}, Variant{"wide", {16, 1}},
                                         Variant{"flat", {1, 0}}, Variant{"flat", {2, 1}}, Variant{"flat", {4, 0}},
                                         Variant{"blocks", {1, 0}}, Variant{"blocks", {2, 0}},
                                         Variant{"blocks", {4, 1}}),
                         [](const auto& info) { return info.param.name + name_of(info.param.cut); });

}  // namespace
}  // namespace bellwether::engine
