#include "scheduler/kv_mirror.h"

#include <algorithm>
#include <utility>

namespace bellwether::scheduler {
namespace {

constexpr size_t kSweepEntries = 65536;  // a fraction of a millisecond

}  // namespace

bool KvMirror::joined(const std::string& replica_id, uint64_t epoch) {
  const auto found = replicas_.find(replica_id);
  if (found == replicas_.end() && replicas_.size() >= kReplicasMax) return false;
  Replica& replica = found == replicas_.end() ? replicas_[replica_id] : found->second;
  if (replica.slot && replica.epoch == epoch) return false;
  replica.epoch = epoch;
  replica.phase = Phase::kWanted;
  clear(replica);
  return replica.slot.has_value();
}

void KvMirror::left(std::string_view replica_id) {
  const auto found = replicas_.find(replica_id);
  if (found == replicas_.end()) return;
  if (found->second.slot) forget_slot(*found->second.slot);
  replicas_.erase(found);
}

bool KvMirror::apply(const v1::KvEvents& events) {
  const auto found = replicas_.find(events.replica_id());
  if (found == replicas_.end() || !found->second.slot) return false;
  Replica& replica = found->second;
  if (events.epoch() < replica.epoch) return false;
  if (events.epoch() > replica.epoch) {
    replica.epoch = events.epoch();
    replica.phase = Phase::kWanted;
    clear(replica);
    return true;
  }
  if (replica.phase == Phase::kDumping) {
    replica.held_back.push_back(events);
    if (replica.held_back.size() <= kHeldBackMax) return false;
    dump_failed(events.replica_id());
    return true;
  }
  return replica.phase == Phase::kCurrent && !take(replica, events);
}

// False when events are missing before these.
bool KvMirror::take(Replica& replica, const v1::KvEvents& events) {
  if (events.first_number() > replica.last_number + 1) {
    replica.phase = Phase::kWanted;
    return false;
  }
  for (uint64_t i = 0; i < static_cast<uint64_t>(events.events_size()); ++i) {
    if (events.first_number() + i <= replica.last_number) continue;
    take(replica, events.events(static_cast<int>(i)));
    replica.last_number = events.first_number() + i;
  }
  return true;
}

void KvMirror::take(Replica& replica, const v1::KvEvent& event) {
  if (!replica.slot) return;
  switch (event.event_case()) {
    case v1::KvEvent::kStored:
      for (const uint64_t hash : event.stored().block_hashes()) {
        if (hash == 0) continue;
        if (!expected_.empty()) expected_.erase({*replica.slot, hash});
        index_.store(*replica.slot, hash);
      }
      return;
    case v1::KvEvent::kRemoved:
      for (const uint64_t hash : event.removed().block_hashes()) {
        if (!expected_.empty() && expected_.contains({*replica.slot, hash})) continue;  // it will be there again
        index_.remove(*replica.slot, hash);
      }
      return;
    case v1::KvEvent::kCleared:
      return clear(replica);
    case v1::KvEvent::EVENT_NOT_SET:
      return;
  }
}

v1::KvDumpRequest KvMirror::begin_dump(std::string_view replica_id) {
  if (const auto found = replicas_.find(replica_id); found != replicas_.end()) {
    found->second.phase = Phase::kDumping;
    found->second.dump_begun = false;
    found->second.held_back.clear();
    ++dumps_;
  }
  return {};
}

std::optional<v1::KvDumpRequest> KvMirror::apply(std::string_view replica_id, const v1::KvDumpChunk& chunk) {
  const auto found = replicas_.find(replica_id);
  if (found == replicas_.end() || found->second.phase != Phase::kDumping) return std::nullopt;
  Replica& replica = found->second;
  if (!chunk.error().empty() || chunk.epoch() != replica.epoch || chunk.replica_id() != replica_id) {
    dump_failed(replica_id);
    return std::nullopt;
  }
  if (!replica.dump_begun) {
    clear(replica);
    replica.dump_begun = true;
    replica.last_number = chunk.last_number();
  }
  for (const v1::KvEvent& event : chunk.events()) take(replica, event);
  const uint64_t read = chunk.offset() + static_cast<uint64_t>(chunk.events_size());
  if (read < chunk.events_total() && chunk.events_size() > 0) {
    v1::KvDumpRequest next;
    next.set_snapshot(chunk.snapshot());
    next.set_offset(read);
    return next;
  }
  finish_dump(replica);
  return std::nullopt;
}

void KvMirror::finish_dump(Replica& replica) {
  replica.phase = Phase::kCurrent;
  for (const v1::KvEvents& events : std::exchange(replica.held_back, {})) {
    if (!take(replica, events)) return;
  }
}

void KvMirror::dump_failed(std::string_view replica_id) {
  const auto found = replicas_.find(replica_id);
  if (found == replicas_.end() || found->second.phase != Phase::kDumping) return;
  found->second.phase = Phase::kWanted;
  found->second.held_back.clear();
}

std::vector<std::string> KvMirror::wants_dump() const {
  std::vector<std::string> wanted;
  for (const auto& [id, replica] : replicas_) {
    if (replica.slot && replica.phase == Phase::kWanted) wanted.push_back(id);
  }
  return wanted;
}

void KvMirror::expect(std::string_view replica_id, std::span<const uint64_t> hashes) {
  const std::optional<size_t> at = slot(replica_id);
  if (!at) return;
  const mesh::TimePoint until = clock_() + kExpectedFor;
  for (const uint64_t hash : hashes) {
    if (hash == 0 || expected_by_age_.size() >= kExpectedMax) continue;
    const Expected block{*at, hash};
    const auto known = expected_.find(block);
    // What an event told is there: it is not to be taken away.
    if (known == expected_.end() && index_.holds(*at, hash)) continue;
    if (known == expected_.end() && !index_.store(*at, hash)) continue;
    expected_[block] = until;
    expected_by_age_.emplace_back(until, block);
  }
}

void KvMirror::maintain() {
  const mesh::TimePoint now = clock_();
  for (; !expected_by_age_.empty() && expected_by_age_.front().first <= now; expected_by_age_.pop_front()) {
    const Expected& block = expected_by_age_.front().second;
    const auto found = expected_.find(block);
    if (found == expected_.end() || found->second > now) continue;
    index_.remove(block.slot, block.hash);
    expected_.erase(found);
  }
  index_.sweep(kSweepEntries);
}

std::optional<size_t> KvMirror::slot(std::string_view replica_id) const {
  const auto found = replicas_.find(replica_id);
  return found == replicas_.end() ? std::nullopt : found->second.slot;
}

void KvMirror::clear(Replica& replica) {
  if (replica.slot) forget_slot(*replica.slot);
  replica.slot = index_.add_replica();
}

void KvMirror::forget_slot(size_t slot) {
  index_.remove_replica(slot);
  std::erase_if(expected_, [&](const auto& entry) { return entry.first.slot == slot; });
}

}  // namespace bellwether::scheduler
