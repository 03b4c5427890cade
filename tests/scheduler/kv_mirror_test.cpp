#include "scheduler/kv_mirror.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace bellwether::scheduler {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class KvMirrorTest : public ::testing::Test {
 protected:
  static v1::KvEvents stored(uint64_t number, const std::vector<uint64_t>& hashes, uint64_t epoch = 1) {
    v1::KvEvents events = none(number, epoch);
    events.add_events()->mutable_stored()->mutable_block_hashes()->Add(hashes.begin(), hashes.end());
    return events;
  }
  static v1::KvEvents removed(uint64_t number, const std::vector<uint64_t>& hashes) {
    v1::KvEvents events = none(number, 1);
    events.add_events()->mutable_removed()->mutable_block_hashes()->Add(hashes.begin(), hashes.end());
    return events;
  }
  static v1::KvEvents none(uint64_t number, uint64_t epoch) {
    v1::KvEvents events;
    events.set_replica_id("a");
    events.set_epoch(epoch);
    events.set_first_number(number);
    return events;
  }
  // A piece of a dump of so many events.
  static v1::KvDumpChunk chunk(uint64_t last_number, uint64_t offset, uint64_t total,
                               const std::vector<uint64_t>& hashes, uint64_t epoch = 1) {
    v1::KvDumpChunk chunk;
    chunk.set_replica_id("a");
    chunk.set_epoch(epoch);
    chunk.set_snapshot(7);
    chunk.set_last_number(last_number);
    chunk.set_offset(offset);
    chunk.set_events_total(total);
    for (const uint64_t hash : hashes) chunk.add_events()->mutable_stored()->add_block_hashes(hash);
    return chunk;
  }

  // "a" has joined and its cache is known: nothing, as of event `last_number`.
  void know_empty(uint64_t last_number = 0) {
    EXPECT_TRUE(mirror_.joined("a", 1));
    static_cast<void>(mirror_.begin_dump("a"));
    EXPECT_FALSE(mirror_.apply("a", chunk(last_number, 0, 0, {})).has_value());
  }

  [[nodiscard]] bool holds(uint64_t hash) const { return mirror_.index().holds(mirror_.slot("a").value(), hash); }

  mesh::TimePoint now_{std::chrono::hours(1)};
  KvMirror mirror_{1000, [this] { return now_; }};
};

TEST_F(KvMirrorTest, FollowsTheEvents) {
  know_empty();
  EXPECT_FALSE(mirror_.apply(stored(1, {10, 11})));
  EXPECT_FALSE(mirror_.apply(removed(2, {11})));
  EXPECT_TRUE(holds(10));
  EXPECT_FALSE(holds(11));
  EXPECT_TRUE(mirror_.wants_dump().empty());
}

TEST_F(KvMirrorTest, EventsThatComeTwiceChangeNothing) {
  know_empty();
  mirror_.apply(stored(1, {10}));
  mirror_.apply(removed(2, {10}));
  EXPECT_FALSE(mirror_.apply(stored(1, {10})));
  EXPECT_FALSE(holds(10));
}

TEST_F(KvMirrorTest, AGapAsksForADumpAndOldKnowledgeServesMeanwhile) {
  know_empty();
  mirror_.apply(stored(1, {10}));
  EXPECT_TRUE(mirror_.apply(stored(3, {12})));
  EXPECT_EQ(mirror_.wants_dump(), std::vector<std::string>{"a"});
  EXPECT_TRUE(holds(10));
  EXPECT_FALSE(holds(12));
}

TEST_F(KvMirrorTest, ADumpIsJoinedWithTheEventsThatCameMeanwhile) {
  EXPECT_TRUE(mirror_.joined("a", 1));
  EXPECT_EQ(mirror_.begin_dump("a").snapshot(), 0u);
  // The dump is as of event 5. Events 5 and 6 come before its first piece, 7 between the pieces.
  EXPECT_FALSE(mirror_.apply(removed(5, {21})));
  EXPECT_FALSE(mirror_.apply(removed(6, {20})));
  const auto rest = mirror_.apply("a", chunk(5, 0, 3, {20, 21}));
  ASSERT_TRUE(rest.has_value());
  EXPECT_EQ(rest->snapshot(), 7u);
  EXPECT_EQ(rest->offset(), 2u);
  EXPECT_FALSE(mirror_.apply(stored(7, {23})));
  EXPECT_FALSE(mirror_.apply("a", chunk(5, 2, 3, {22})).has_value());
  EXPECT_FALSE(holds(20)) << "removed after the dump was made";
  EXPECT_TRUE(holds(21)) << "its removal was before the dump, which has it again";
  EXPECT_TRUE(holds(22));
  EXPECT_TRUE(holds(23));
  EXPECT_TRUE(mirror_.wants_dump().empty());
}

TEST_F(KvMirrorTest, ADumpWithAGapAfterItIsWantedAgain) {
  EXPECT_TRUE(mirror_.joined("a", 1));
  static_cast<void>(mirror_.begin_dump("a"));
  mirror_.apply(stored(9, {30}));
  EXPECT_FALSE(mirror_.apply("a", chunk(5, 0, 1, {20})).has_value());
  EXPECT_EQ(mirror_.wants_dump(), std::vector<std::string>{"a"});
}

TEST_F(KvMirrorTest, ADumpThatFailsIsWantedAgain) {
  EXPECT_TRUE(mirror_.joined("a", 1));
  for (int i = 0; i < 3; ++i) {
    static_cast<void>(mirror_.begin_dump("a"));
    EXPECT_TRUE(mirror_.wants_dump().empty());
    v1::KvDumpChunk bad = chunk(0, 0, 0, {});
    if (i == 0) bad.set_error("no such snapshot");
    if (i == 1) bad.set_epoch(2);
    if (i == 2) mirror_.dump_failed("a");
    EXPECT_FALSE(mirror_.apply("a", bad).has_value());
    EXPECT_EQ(mirror_.wants_dump(), std::vector<std::string>{"a"});
  }
}

TEST_F(KvMirrorTest, EventsHeldBackDuringADumpAreBounded) {
  EXPECT_TRUE(mirror_.joined("a", 1));
  static_cast<void>(mirror_.begin_dump("a"));
  for (uint64_t i = 1; i <= KvMirror::kHeldBackMax; ++i) EXPECT_FALSE(mirror_.apply(stored(i, {i})));
  EXPECT_TRUE(mirror_.apply(stored(KvMirror::kHeldBackMax + 1, {9999})));
  EXPECT_EQ(mirror_.wants_dump(), std::vector<std::string>{"a"});
}

TEST_F(KvMirrorTest, ANewEpochIsAnEmptyCache) {
  know_empty();
  mirror_.apply(stored(1, {10}));
  EXPECT_TRUE(mirror_.apply(stored(1, {11}, 2)));
  EXPECT_FALSE(holds(10));
  EXPECT_EQ(mirror_.wants_dump(), std::vector<std::string>{"a"});
  EXPECT_FALSE(mirror_.apply(stored(2, {12}, 1))) << "of the epoch before";
  EXPECT_FALSE(holds(12));
}

TEST_F(KvMirrorTest, AReplicaThatLeftHoldsNothingAndItsSpaceComesBack) {
  know_empty();
  mirror_.apply(stored(1, {10, 11, 12}));
  mirror_.left("a");
  EXPECT_FALSE(mirror_.slot("a").has_value());
  mirror_.maintain();
  mirror_.maintain();
  EXPECT_EQ(mirror_.index().blocks(), 0u);
}

TEST_F(KvMirrorTest, AClearedCacheHoldsNothing) {
  know_empty();
  mirror_.apply(stored(1, {10}));
  v1::KvEvents events = none(2, 1);
  events.add_events()->mutable_cleared();
  mirror_.apply(events);
  EXPECT_FALSE(holds(10));
  mirror_.apply(stored(3, {10}));
  EXPECT_TRUE(holds(10));
}

TEST_F(KvMirrorTest, ExpectedBlocksCountForAWhile) {
  know_empty();
  mirror_.expect("a", std::vector<uint64_t>{10, 11});
  EXPECT_TRUE(holds(10));
  now_ += KvMirror::kExpectedFor - milliseconds(1);
  mirror_.maintain();
  EXPECT_TRUE(holds(10));
  now_ += milliseconds(1);
  mirror_.maintain();
  EXPECT_FALSE(holds(10));
  EXPECT_EQ(mirror_.expected(), 0u);
}

TEST_F(KvMirrorTest, ExpectedBlocksThatCameStay) {
  know_empty();
  mirror_.expect("a", std::vector<uint64_t>{10, 11});
  mirror_.apply(stored(1, {10}));
  now_ += KvMirror::kExpectedFor;
  mirror_.maintain();
  EXPECT_TRUE(holds(10));
  EXPECT_FALSE(holds(11));
}

TEST_F(KvMirrorTest, WhatIsCachedIsNotTakenAwayWithAnExpectation) {
  know_empty();
  mirror_.apply(stored(1, {10}));
  mirror_.expect("a", std::vector<uint64_t>{10});
  now_ += KvMirror::kExpectedFor;
  mirror_.maintain();
  EXPECT_TRUE(holds(10));
}

TEST_F(KvMirrorTest, ExpectingAgainProlongsIt) {
  know_empty();
  mirror_.expect("a", std::vector<uint64_t>{10});
  now_ += seconds(6);
  mirror_.expect("a", std::vector<uint64_t>{10});
  now_ += seconds(6);
  mirror_.maintain();
  EXPECT_TRUE(holds(10));
  now_ += seconds(6);
  mirror_.maintain();
  EXPECT_FALSE(holds(10));
}

TEST_F(KvMirrorTest, AnEvictionOfWhatIsExpectedAgainIsNoNews) {
  know_empty();
  mirror_.expect("a", std::vector<uint64_t>{10});
  mirror_.apply(removed(1, {10}));
  EXPECT_TRUE(holds(10));
}

}  // namespace
}  // namespace bellwether::scheduler
