// The demo model: what a sequence computes in a crowd of 32 - its prompt in pieces, its prefix shared, its blocks taken
// away and computed again, guesses in between - is bit for bit what it computes alone.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include <boost/json.hpp>

#include "engine/load_forward.h"
#include "engine/loop_driver.h"

namespace bellwether::engine {
namespace {

namespace json = boost::json;

std::vector<std::vector<int32_t>> reference_prompts() {
  std::stringstream text;
  text << std::ifstream(BELLWETHER_TEST_DATA "/nano/reference.json", std::ios::binary).rdbuf();
  std::vector<std::vector<int32_t>> prompts;
  const json::value reference = json::parse(text.str());
  for (const json::value& item : reference.at("cases").as_array()) {
    auto prompt = json::value_to<std::vector<int32_t>>(item.at("prompt_ids"));
    if (prompt.size() <= 128) prompts.push_back(std::move(prompt));
  }
  return prompts;
}

RecordedLoop make_loop(const EngineOptions& options) {
  return {load_config(BELLWETHER_DEMO_MODEL), options, BELLWETHER_DEMO_MODEL};
}

// Several with each prompt, greedy and drawn; without the longest, so that all begin in a small cache.
std::vector<SequenceRequest> crowd_of_32() {
  const auto prompts = reference_prompts();
  std::vector<SequenceRequest> requests;
  for (SequenceId id = 0; id < 32; ++id) {
    SequenceRequest request = request_of(id, 1, 125, id % 4 == 0 ? 0.0F : 1.8F);
    request.prompt_ids = prompts[id % prompts.size()];
    requests.push_back(request);
  }
  return requests;
}

struct Result {
  std::vector<int32_t> ids;
  std::vector<float> logits;  // of all tokens but the last, which is not computed
};

Result result_of(const RecordedLoop& recorded, const SequenceRequest& request, const Outcome& outcome) {
  std::vector<int32_t> ids = request.prompt_ids;
  ids.insert(ids.end(), outcome.ids.begin(), outcome.ids.end() - 1);
  return {outcome.ids, recorded.forward->logits(ids, std::ssize(request.prompt_ids))};
}

class NanoExactness : public testing::TestWithParam<int> {};

TEST_P(NanoExactness, ACrowdDoesNotMatter) {
  const int ranks = GetParam();
  const auto requests = crowd_of_32();
  RecordedLoop crowd = make_loop(
      {.threads = ranks == 1 ? 2 : 1, .kv_blocks = 66, .batch_tokens_max = 300, .draft_tokens = 2, .ranks = ranks});
  for (const SequenceRequest& request : requests) {
    ASSERT_EQ(crowd.loop->admit(request, nullptr), Admission::kAdmitted);
  }
  Outcomes outcomes;
  const Totals totals = drain(*crowd.loop, outcomes);
  size_t together = 0;
  for (const auto& batch : crowd.forward->batches()) together = std::max(together, batch.segments);
  EXPECT_EQ(together, 32U);
  EXPECT_GT(totals.preemptions, 0);
  EXPECT_GT(totals.cache_hit_tokens, 0);
  EXPECT_GT(totals.draft_tokens_accepted, 0);
  RecordProperty("draft_tokens", std::to_string(totals.draft_tokens));
  RecordProperty("draft_tokens_accepted", std::to_string(totals.draft_tokens_accepted));
  RecordProperty("preemptions", std::to_string(totals.preemptions));

  RecordedLoop alone = make_loop({.threads = 1, .ranks = ranks});
  for (SequenceRequest request : requests) {
    if (ranks > 1 && request.id % 5 != 0) continue;  // for time's sake
    request.cache_salt = request.id + 1;             // nothing is shared
    ASSERT_EQ(alone.loop->admit(request, nullptr), Admission::kAdmitted);
    Outcomes outcome;
    EXPECT_EQ(drain(*alone.loop, outcome).cache_hit_tokens, 0);
    const Result expected = result_of(alone, request, outcome[request.id]);
    const Result actual = result_of(crowd, request, outcomes[request.id]);
    EXPECT_EQ(actual.ids, expected.ids) << "sequence " << request.id;
    ASSERT_EQ(actual.logits.size(), expected.logits.size()) << "sequence " << request.id;
    EXPECT_EQ(std::memcmp(actual.logits.data(), expected.logits.data(), expected.logits.size() * sizeof(float)), 0)
        << "sequence " << request.id;
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, NanoExactness, testing::Values(1, 4));

}  // namespace
}  // namespace bellwether::engine
