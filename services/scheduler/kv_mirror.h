// What the caches of all replicas hold, as one scheduler knows it: from the heads' numbered events, from dumps where
// events are missing, and for a short while from what it and the other schedulers have just placed.
//
// A head's events count up. When a number is missing, or the epoch is new, the caller is to fetch a dump; events that
// come meanwhile are kept and joined with it. Until then the old knowledge serves: a wrong guess costs a prefill, and
// nothing else.
//
// Expected blocks are those of requests on their way: stored as if they were there, so that a burst of requests with
// one new prefix lands on one head, and taken away after kExpectedFor unless an event has confirmed them.
//
// Knows no bus. Not thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bellwether/v1/mesh.pb.h"
#include "mesh/clock.h"
#include "scheduler/kv_index.h"

namespace bellwether::scheduler {

class KvMirror {
 public:
  static constexpr std::chrono::seconds kExpectedFor{10};
  static constexpr size_t kExpectedMax = size_t{1} << 18;  // blocks
  static constexpr size_t kHeldBackMax = 1024;             // messages during a dump; beyond it the dump starts again
  static constexpr size_t kReplicasMax = 4096;

  KvMirror(size_t blocks_max, mesh::Clock clock) : index_(blocks_max), clock_(std::move(clock)) {}

  // The replica takes work in this epoch. True when a dump is to be fetched.
  bool joined(const std::string& replica_id, uint64_t epoch);
  void left(std::string_view replica_id);

  // True when a dump is to be fetched.
  bool apply(const v1::KvEvents& events);

  // What to ask first, and, given the answer, next; nothing at the end. After an answer that serves to nothing, as when
  // the replica is gone, the dump is over and wanted again: see wants_dump().
  [[nodiscard]] v1::KvDumpRequest begin_dump(std::string_view replica_id);
  [[nodiscard]] std::optional<v1::KvDumpRequest> apply(std::string_view replica_id, const v1::KvDumpChunk& chunk);
  // The dump did not come.
  void dump_failed(std::string_view replica_id);
  // Replicas whose dump is wanted and not under way.
  [[nodiscard]] std::vector<std::string> wants_dump() const;

  // A request with these blocks is on its way there.
  void expect(std::string_view replica_id, std::span<const uint64_t> hashes);

  // Takes away what was expected and has not come, and a part of what replicas that left have left behind.
  void maintain();

  [[nodiscard]] std::optional<size_t> slot(std::string_view replica_id) const;
  [[nodiscard]] const KvIndex& index() const { return index_; }
  [[nodiscard]] size_t expected() const { return expected_.size(); }
  [[nodiscard]] uint64_t dumps() const { return dumps_; }  // begun

 private:
  enum class Phase { kWanted, kDumping, kCurrent };
  struct Replica {
    uint64_t epoch = 0;
    std::optional<size_t> slot;
    Phase phase = Phase::kWanted;
    uint64_t last_number = 0;  // of the events that the index has the effect of
    bool dump_begun = false;   // a chunk has come
    std::deque<v1::KvEvents> held_back;
  };
  struct Expected {
    size_t slot;
    uint64_t hash;
    bool operator==(const Expected&) const = default;
  };
  struct ExpectedHash {
    size_t operator()(const Expected& each) const { return each.hash ^ each.slot * 0x9E3779B97F4A7C15; }
  };

  bool take(Replica& replica, const v1::KvEvents& events);
  void take(Replica& replica, const v1::KvEvent& event);
  void clear(Replica& replica);
  void forget_slot(size_t slot);
  void finish_dump(Replica& replica);

  KvIndex index_;
  mesh::Clock clock_;
  std::map<std::string, Replica, std::less<>> replicas_;
  std::unordered_map<Expected, mesh::TimePoint, ExpectedHash> expected_;  // until when
  std::deque<std::pair<mesh::TimePoint, Expected>> expected_by_age_;
  uint64_t dumps_ = 0;
};

}  // namespace bellwether::scheduler
