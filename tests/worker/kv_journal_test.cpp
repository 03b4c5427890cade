#include "worker/kv_journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

namespace bellwether::worker {
namespace {

using Kind = engine::KvEvent::Kind;
using ::testing::ElementsAre;

const mesh::TimePoint kNow{};

std::vector<uint64_t> hashes(uint64_t first, size_t count) {
  std::vector<uint64_t> made(count);
  std::iota(made.begin(), made.end(), first);
  return made;
}

TEST(KvJournal, TellsEachKindAndNumbersOn) {
  KvJournal journal("r");
  EXPECT_TRUE(journal.tell(7, {}).empty());
  const auto first = journal.tell(
      7, {{.kind = Kind::kStored, .parent_hash = 5, .hashes = {6, 8}}, {.kind = Kind::kRemoved, .hashes = {3}}});
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].replica_id(), "r");
  EXPECT_EQ(first[0].epoch(), 7u);
  EXPECT_EQ(first[0].first_number(), 1u);
  ASSERT_EQ(first[0].events_size(), 2);
  EXPECT_EQ(first[0].events(0).stored().parent_hash(), 5u);
  EXPECT_THAT(first[0].events(0).stored().block_hashes(), ElementsAre(6, 8));
  EXPECT_THAT(first[0].events(1).removed().block_hashes(), ElementsAre(3));
  const auto second = journal.tell(8, {{.kind = Kind::kCleared}});
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(second[0].epoch(), 8u);
  EXPECT_EQ(second[0].first_number(), 3u);
  EXPECT_TRUE(second[0].events(0).has_cleared());
}

TEST(KvJournal, CutsLongEventsAndTheChainGoesOn) {
  KvJournal journal("r");
  const size_t count = KvJournal::kEventHashesMax + 2;
  const auto messages = journal.tell(1, {{.kind = Kind::kStored, .parent_hash = 9, .hashes = hashes(100, count)}});
  ASSERT_EQ(messages.size(), 1u);
  ASSERT_EQ(messages[0].events_size(), 2);
  EXPECT_EQ(messages[0].events(0).stored().parent_hash(), 9u);
  EXPECT_EQ(messages[0].events(1).stored().parent_hash(), 100 + KvJournal::kEventHashesMax - 1);
  EXPECT_THAT(messages[0].events(1).stored().block_hashes(),
              ElementsAre(100 + KvJournal::kEventHashesMax, 101 + KvJournal::kEventHashesMax));
}

TEST(KvJournal, MessagesAreBoundedAndLoseNothing) {
  for (const size_t hashes_each : {size_t{1}, size_t{30'000}}) {
    KvJournal journal("r");
    const std::vector<engine::KvEvent> events(200'000 / hashes_each,
                                              {.kind = Kind::kRemoved, .hashes = hashes(1, hashes_each)});
    uint64_t number = 1;
    size_t told = 0;
    for (const v1::KvEvents& message : journal.tell(1, events)) {
      EXPECT_LE(message.ByteSizeLong(), KvJournal::kMessageBytesMax);
      EXPECT_EQ(message.first_number(), number);
      number += static_cast<uint64_t>(message.events_size());
      for (const auto& event : message.events()) told += static_cast<size_t>(event.removed().block_hashes_size());
    }
    EXPECT_EQ(told, events.size() * hashes_each);
  }
}

TEST(KvJournal, SnapshotsAreReadInPiecesAndSayWhereEventsGoOn) {
  KvJournal journal("r");
  (void)journal.tell(7, {{.kind = Kind::kRemoved, .hashes = {3}}});
  const std::vector<engine::KvEvent> dump(100'000, {.kind = Kind::kStored, .parent_hash = 0, .hashes = {4}});
  const uint64_t snapshot = journal.add_snapshot(7, dump, kNow);
  EXPECT_GT(snapshot, 0u);
  (void)journal.tell(7, {{.kind = Kind::kRemoved, .hashes = {4}}});
  uint64_t read = 0;
  int chunks = 0;
  do {
    const v1::KvDumpChunk chunk = journal.chunk(snapshot, read);
    ASSERT_EQ(chunk.error(), "");
    EXPECT_LE(chunk.ByteSizeLong(), KvJournal::kMessageBytesMax);
    EXPECT_EQ(chunk.replica_id(), "r");
    EXPECT_EQ(chunk.epoch(), 7u);
    EXPECT_EQ(chunk.snapshot(), snapshot);
    EXPECT_EQ(chunk.last_number(), 1u) << "the later event is not in it";
    EXPECT_EQ(chunk.offset(), read);
    EXPECT_EQ(chunk.events_total(), dump.size());
    ASSERT_GT(chunk.events_size(), 0);
    read += static_cast<uint64_t>(chunk.events_size());
    ++chunks;
  } while (read < dump.size());
  EXPECT_EQ(read, dump.size());
  EXPECT_GT(chunks, 1);
  EXPECT_EQ(journal.chunk(snapshot, dump.size()).error(), "");
  EXPECT_NE(journal.chunk(snapshot, dump.size() + 1).error(), "");
}

TEST(KvJournal, AnEmptySnapshotIsOne) {
  KvJournal journal("r");
  const v1::KvDumpChunk chunk = journal.chunk(journal.add_snapshot(1, {}, kNow), 0);
  EXPECT_EQ(chunk.error(), "");
  EXPECT_EQ(chunk.events_total(), 0u);
}

TEST(KvJournal, HoldsFewSnapshotsAndNotForLong) {
  KvJournal journal("r");
  const uint64_t first = journal.add_snapshot(1, {}, kNow);
  const uint64_t second = journal.add_snapshot(1, {}, kNow);
  for (size_t i = 2; i < KvJournal::kSnapshotsMax; ++i) (void)journal.add_snapshot(1, {}, kNow);
  EXPECT_EQ(journal.chunk(first, 0).error(), "");
  const uint64_t last = journal.add_snapshot(1, {}, kNow + std::chrono::seconds(1));
  EXPECT_NE(journal.chunk(first, 0).error(), "");
  EXPECT_EQ(journal.chunk(second, 0).error(), "");
  journal.drop_old_snapshots(kNow + KvJournal::kSnapshotAge);
  EXPECT_NE(journal.chunk(second, 0).error(), "");
  EXPECT_EQ(journal.chunk(last, 0).error(), "");
  EXPECT_NE(journal.chunk(0, 0).error(), "");
}

}  // namespace
}  // namespace bellwether::worker
