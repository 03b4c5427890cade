#include "cli/replica_book.h"

#include <gtest/gtest.h>

namespace bellwether::cli {
namespace {

using std::chrono::milliseconds;

v1::ReplicaState make_state(const std::string& id, v1::ReplicaPhase phase, uint64_t sequence, uint64_t epoch = 1) {
  v1::ReplicaState state;
  state.set_replica_id(id);
  state.set_phase(phase);
  state.set_sequence(sequence);
  state.set_epoch(epoch);
  return state;
}

const mesh::TimePoint kStart{};

TEST(ReplicaBook, CountsReadyHeads) {
  ReplicaBook book;
  book.hear(make_state("a", v1::REPLICA_PHASE_LOADING, 1), kStart);
  book.hear(make_state("b", v1::REPLICA_PHASE_READY, 1), kStart);
  EXPECT_EQ(book.ready(), 1U);
  book.hear(make_state("a", v1::REPLICA_PHASE_READY, 2), kStart);
  EXPECT_EQ(book.ready(), 2U);
}

TEST(ReplicaBook, IgnoresAnOlderState) {
  ReplicaBook book;
  book.hear(make_state("a", v1::REPLICA_PHASE_READY, 9), kStart);
  book.hear(make_state("a", v1::REPLICA_PHASE_LOADING, 8), kStart);
  EXPECT_EQ(book.ready(), 1U);
  book.hear(make_state("a", v1::REPLICA_PHASE_LOADING, 1, 2), kStart);
  EXPECT_EQ(book.ready(), 0U) << "a new epoch counts from the start";
}

TEST(ReplicaBook, ForgetsHeadsThatLeaveOrFallSilent) {
  ReplicaBook book;
  book.hear(make_state("a", v1::REPLICA_PHASE_READY, 1), kStart);
  book.hear(make_state("b", v1::REPLICA_PHASE_READY, 1), kStart + milliseconds(500));
  book.hear(make_state("b", v1::REPLICA_PHASE_STOPPED, 2), kStart + milliseconds(600));
  EXPECT_EQ(book.states().size(), 1U);
  book.forget_silent(kStart + ReplicaBook::kSilenceMax);
  EXPECT_EQ(book.states().size(), 1U);
  book.forget_silent(kStart + ReplicaBook::kSilenceMax + milliseconds(1));
  EXPECT_TRUE(book.states().empty());
}

TEST(ReplicaBook, ProgressIsTheMeanOverThoseExpected) {
  ReplicaBook book;
  EXPECT_EQ(book.loading_progress(0), 1.0);
  EXPECT_EQ(book.loading_progress(2), 0.0);
  v1::ReplicaState half = make_state("a", v1::REPLICA_PHASE_LOADING, 1);
  half.set_loading_progress(0.5);
  book.hear(half, kStart);
  EXPECT_EQ(book.loading_progress(2), 0.25);
  book.hear(make_state("b", v1::REPLICA_PHASE_READY, 1), kStart);
  EXPECT_EQ(book.loading_progress(2), 0.75);
  EXPECT_EQ(book.loading_progress(1), 1.0) << "more than expected is not more than all";
}

}  // namespace
}  // namespace bellwether::cli
