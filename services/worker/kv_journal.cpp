#include "worker/kv_journal.h"

#include <algorithm>
#include <span>

namespace bellwether::worker {
namespace {

// What an event adds to the message that holds it: its own tag and length, of 5 bytes at most, and it.
size_t bytes_in_message(const v1::KvEvent& event) {
  return event.ByteSizeLong() + 6;
}

constexpr size_t kEnvelopeBytes = 1024;  // of a message, for all but its events

v1::KvEvent stored(uint64_t parent_hash, std::span<const uint64_t> hashes) {
  v1::KvEvent event;
  event.mutable_stored()->set_parent_hash(parent_hash);
  event.mutable_stored()->mutable_block_hashes()->Add(hashes.begin(), hashes.end());
  return event;
}

v1::KvEvent removed(std::span<const uint64_t> hashes) {
  v1::KvEvent event;
  event.mutable_removed()->mutable_block_hashes()->Add(hashes.begin(), hashes.end());
  return event;
}

void append(std::vector<v1::KvEvent>& out, const engine::KvEvent& event) {
  if (event.kind == engine::KvEvent::Kind::kCleared) {
    out.emplace_back().mutable_cleared();
    return;
  }
  uint64_t parent = event.parent_hash;
  for (std::span<const uint64_t> rest = event.hashes; !rest.empty();) {
    const auto piece = rest.first(std::min(rest.size(), KvJournal::kEventHashesMax));
    out.push_back(event.kind == engine::KvEvent::Kind::kStored ? stored(parent, piece) : removed(piece));
    parent = piece.back();
    rest = rest.subspan(piece.size());
  }
}

std::vector<v1::KvEvent> on_the_bus(const std::vector<engine::KvEvent>& events) {
  std::vector<v1::KvEvent> out;
  out.reserve(events.size());
  for (const engine::KvEvent& event : events) append(out, event);
  return out;
}

// How many of these events, one at least, fit a message.
size_t count_that_fits(std::span<const v1::KvEvent> events) {
  size_t count = 0;
  size_t bytes = kEnvelopeBytes;
  while (count < events.size()) {
    bytes += bytes_in_message(events[count]);
    if (count > 0 && bytes > KvJournal::kMessageBytesMax) break;
    ++count;
  }
  return count;
}

}  // namespace

std::vector<v1::KvEvents> KvJournal::tell(uint64_t epoch, const std::vector<engine::KvEvent>& events) {
  const std::vector<v1::KvEvent> all = on_the_bus(events);
  std::vector<v1::KvEvents> messages;
  for (std::span<const v1::KvEvent> rest = all; !rest.empty();) {
    const auto piece = rest.first(count_that_fits(rest));
    v1::KvEvents& message = messages.emplace_back();
    message.set_replica_id(replica_id_);
    message.set_epoch(epoch);
    message.set_first_number(last_number_ + 1);
    message.mutable_events()->Add(piece.begin(), piece.end());
    last_number_ += piece.size();
    rest = rest.subspan(piece.size());
  }
  return messages;
}

uint64_t KvJournal::add_snapshot(uint64_t epoch, const std::vector<engine::KvEvent>& dump, mesh::TimePoint now) {
  if (snapshots_.size() == kSnapshotsMax) snapshots_.pop_front();
  snapshots_.push_back(
      {.id = ++last_snapshot_, .epoch = epoch, .last_number = last_number_, .taken = now, .events = on_the_bus(dump)});
  return last_snapshot_;
}

void KvJournal::drop_old_snapshots(mesh::TimePoint now) {
  while (!snapshots_.empty() && snapshots_.front().taken + kSnapshotAge <= now) snapshots_.pop_front();
}

v1::KvDumpChunk KvJournal::chunk(uint64_t snapshot, uint64_t offset) const {
  v1::KvDumpChunk chunk;
  chunk.set_replica_id(replica_id_);
  const auto found =
      std::find_if(snapshots_.begin(), snapshots_.end(), [&](const Snapshot& each) { return each.id == snapshot; });
  if (found == snapshots_.end() || offset > found->events.size()) {
    chunk.set_error("there is no such snapshot, or no longer; take a new one");
    return chunk;
  }
  chunk.set_epoch(found->epoch);
  chunk.set_snapshot(found->id);
  chunk.set_last_number(found->last_number);
  chunk.set_offset(offset);
  chunk.set_events_total(found->events.size());
  const auto rest = std::span(found->events).subspan(offset);
  const auto piece = rest.first(count_that_fits(rest));
  chunk.mutable_events()->Add(piece.begin(), piece.end());
  return chunk;
}

}  // namespace bellwether::worker
