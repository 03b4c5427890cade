#include "scheduler/placer.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace bellwether::scheduler {
namespace {

class PlacerTest : public ::testing::Test {
 protected:
  void join(const std::string& id) {
    v1::ReplicaState state;
    state.set_replica_id(id);
    state.set_epoch(1);
    state.set_model("m");
    state.set_phase(v1::REPLICA_PHASE_READY);
    state.set_sequence(1);
    state.mutable_capacity()->set_sequences_max(100);
    placer_.apply(state);
  }

  // A prompt of `tokens` tokens, all alike in requests of one `prefix`.
  std::string place(uint32_t prefix, int tokens, Strategy strategy = place_prefix_cache) {
    v1::GenerateRequest request;
    request.set_request_id("r" + std::to_string(++requests_));
    request.set_attempt(1);
    request.set_model("m");
    request.set_max_tokens(16);
    for (int i = 0; i < tokens; ++i) request.add_prompt_ids(prefix);
    const Candidate candidate = candidate_of(request);
    const auto placed = placer_.place(candidate, strategy, {});
    return placed ? placed->replica_id : "";
  }

  mesh::TimePoint now_{std::chrono::hours(1)};
  Placer placer_{{.scheduler_id = "self"}, [this] { return now_; }};
  int requests_ = 0;
};

TEST_F(PlacerTest, SiblingsOfANewPrefixLandTogetherAndOthersElsewhere) {
  for (const char* id : {"a", "b", "c"}) join(id);
  const std::string first = place(1, 6000);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(place(1, 6000), first);
  const std::string second = place(2, 6000);
  EXPECT_NE(second, first);
  EXPECT_NE(place(3, 6000), second);
}

TEST_F(PlacerTest, LeastRequestSpreadsTheSameSiblings) {
  for (const char* id : {"a", "b", "c"}) join(id);
  std::set<std::string> heads;
  for (int i = 0; i < 3; ++i) heads.insert(place(1, 6000, place_least_request));
  EXPECT_EQ(heads.size(), 3);
}

TEST_F(PlacerTest, WhatTheHeadsTellOfTheirCachesCounts) {
  for (const char* id : {"a", "b", "c"}) join(id);
  v1::GenerateRequest request;
  for (int i = 0; i < 640; ++i) request.add_prompt_ids(9);
  const Candidate candidate = candidate_of(request);
  static_cast<void>(placer_.begin_dump("c"));
  v1::KvDumpChunk chunk;
  chunk.set_replica_id("c");
  chunk.set_epoch(1);
  chunk.set_snapshot(1);
  chunk.set_events_total(1);
  for (const uint64_t hash : candidate.block_hashes) chunk.add_events()->mutable_stored()->add_block_hashes(hash);
  EXPECT_FALSE(placer_.apply("c", chunk).has_value());
  EXPECT_EQ(place(9, 640), "c");
}

TEST(Strategies, AreFoundByTheirNamesAndAibrixNames) {
  for (const std::string& name : strategy_names()) EXPECT_TRUE(find_strategy(name)) << name;
  EXPECT_EQ(find_strategy("vtc-basic"), find_strategy("fair"));
  EXPECT_FALSE(find_strategy("no-such"));
}

}  // namespace
}  // namespace bellwether::scheduler
