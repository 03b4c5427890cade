// What the KV cache holds, told on the bus: numbered events in messages of bounded size, and snapshots that a listener
// reads in pieces and joins with the events. Knows no bus.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "bellwether/v1/mesh.pb.h"
#include "engine/engine.h"
#include "mesh/clock.h"

namespace bellwether::worker {

// Lives on one thread.
class KvJournal {
 public:
  static constexpr size_t kEventHashesMax = 8192;          // 64 KiB; longer events are cut
  static constexpr size_t kMessageBytesMax = 256 * 1024;   // of a message or a chunk
  static constexpr size_t kSnapshotsMax = 4;               // held; a new one drives out the oldest
  static constexpr std::chrono::seconds kSnapshotAge{10};  // after it a snapshot is dropped, read or not

  explicit KvJournal(std::string replica_id) : replica_id_(std::move(replica_id)) {}

  // The messages that tell of these events, in order.
  [[nodiscard]] std::vector<v1::KvEvents> tell(uint64_t epoch, const std::vector<engine::KvEvent>& events);

  // Holds a dump of the cache as it is after all events told so far; returns its number.
  uint64_t add_snapshot(uint64_t epoch, const std::vector<engine::KvEvent>& dump, mesh::TimePoint now);
  void drop_old_snapshots(mesh::TimePoint now);

  // The piece of a snapshot that was asked for, or one with `error` set.
  [[nodiscard]] v1::KvDumpChunk chunk(uint64_t snapshot, uint64_t offset) const;

 private:
  struct Snapshot {
    uint64_t id = 0;
    uint64_t epoch = 0;
    uint64_t last_number = 0;
    mesh::TimePoint taken;
    std::vector<v1::KvEvent> events;
  };

  std::string replica_id_;
  uint64_t last_number_ = 0;
  uint64_t last_snapshot_ = 0;
  std::deque<Snapshot> snapshots_;  // oldest first
};

}  // namespace bellwether::worker
