#include "scheduler/kv_index.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace bellwether::scheduler {
namespace {

constexpr size_t kEntriesFirst = 1024;
constexpr size_t kWordBits = 64;

bool has_bit(std::span<const uint64_t> words, size_t bit) {
  return (words[bit / kWordBits] >> (bit % kWordBits) & 1) != 0;
}

void set_bit(uint64_t* words, size_t bit) {
  words[bit / kWordBits] |= uint64_t{1} << (bit % kWordBits);
}

void clear_bit(uint64_t* words, size_t bit) {
  words[bit / kWordBits] &= ~(uint64_t{1} << (bit % kWordBits));
}

template <class Visit>
void for_each_bit(uint64_t word, size_t first, Visit visit) {
  for (; word != 0; word &= word - 1) visit(first + static_cast<size_t>(std::countr_zero(word)));
}

}  // namespace

KvIndex::KvIndex(size_t blocks_max) : blocks_max_(blocks_max), entries_(kEntriesFirst), live_(1) {}

std::optional<size_t> KvIndex::add_replica() {
  size_t slot = slots_;
  if (!free_slots_.empty()) {
    slot = free_slots_.back();
    free_slots_.pop_back();
  } else if (slots_ == kSlotsMax) {
    return std::nullopt;
  } else {
    ++slots_;
    if (slots_ > row_words_ * kWordBits) widen_rows(2 * row_words_);
  }
  set_bit(live_.data(), slot);
  return slot;
}

void KvIndex::remove_replica(size_t slot) {
  clear_bit(live_.data(), slot);
  to_sweep_.push_back(slot);
}

bool KvIndex::holds(size_t slot, uint64_t hash) const {
  const Entry& entry = entries_[find(hash)];
  if (entry.hash == 0) return false;
  if (entry.holders < kRow) return entry.holders == slot;
  return has_bit({row(entry.holders), row_words_}, slot);
}

bool KvIndex::store(size_t slot, uint64_t hash) {
  size_t at = find(hash);
  if (entries_[at].hash == 0) {
    if (used_ >= blocks_max_) {
      ++refused_;
      return false;
    }
    if ((used_ + 1) * 4 > entries_.size() * 3) {
      grow();
      at = find(hash);
    }
    entries_[at] = {hash, static_cast<uint32_t>(slot)};
    ++used_;
    return true;
  }
  const uint32_t holders = entries_[at].holders;
  if (holders == slot) return true;
  if (holders >= kRow) {
    set_bit(row(holders), slot);
    return true;
  }
  const uint32_t shared = take_row();
  set_bit(row(shared), holders);
  set_bit(row(shared), slot);
  entries_[at].holders = shared;
  return true;
}

void KvIndex::remove(size_t slot, uint64_t hash) {
  const size_t at = find(hash);
  if (entries_[at].hash != 0) drop_holder(at, slot);
}

void KvIndex::drop_holder(size_t entry, size_t slot) {
  const uint32_t holders = entries_[entry].holders;
  if (holders < kRow) {
    if (holders == slot) erase(entry);
    return;
  }
  clear_bit(row(holders), slot);
  const std::span<const uint64_t> words(row(holders), row_words_);
  if (std::any_of(words.begin(), words.end(), [](uint64_t word) { return word != 0; })) return;
  free_rows_.push_back(holders);
  erase(entry);
}

void KvIndex::match(std::span<const uint64_t> hashes, std::vector<uint32_t>& counts) const {
  counts.assign(slots_, 0);
  std::vector<uint64_t> active = live_;
  uint32_t matched = 0;
  const auto leave = [&](size_t slot) { counts[slot] = matched; };
  for (const uint64_t hash : hashes) {
    const Entry& entry = entries_[find(hash)];
    if (entry.hash == 0) break;
    uint64_t any = 0;
    for (size_t i = 0; i < active.size(); ++i) {
      uint64_t holders = 0;
      if (entry.holders >= kRow) {
        holders = row(entry.holders)[i];
      } else if (entry.holders / kWordBits == i) {
        holders = uint64_t{1} << (entry.holders % kWordBits);
      }
      if (matched > 0) for_each_bit(active[i] & ~holders, i * kWordBits, leave);
      active[i] &= holders;
      any |= active[i];
    }
    if (any == 0) return;
    ++matched;
  }
  if (matched == 0) return;
  for (size_t i = 0; i < active.size(); ++i) for_each_bit(active[i], i * kWordBits, leave);
}

void KvIndex::sweep(size_t entries) {
  if (sweeping_.empty()) {
    if (to_sweep_.empty()) return;
    sweeping_ = std::exchange(to_sweep_, {});
    sweep_at_ = 0;
  }
  for (; entries > 0 && sweep_at_ < entries_.size(); --entries) {
    // What erase() moves here from behind is looked at next.
    if (!sweep_entry(sweep_at_)) ++sweep_at_;
  }
  if (sweep_at_ >= entries_.size()) finish_sweep();
}

// True when the entry has gone.
bool KvIndex::sweep_entry(size_t entry) {
  const uint64_t hash = entries_[entry].hash;
  if (hash == 0) return false;
  const uint32_t holders = entries_[entry].holders;
  if (holders < kRow) {
    if (has_bit(live_, holders)) return false;
    erase(entry);
    return true;
  }
  uint64_t* words = row(holders);
  uint64_t any = 0;
  for (size_t i = 0; i < row_words_; ++i) any |= words[i] &= live_[i];
  if (any != 0) return false;
  free_rows_.push_back(holders);
  erase(entry);
  return true;
}

void KvIndex::finish_sweep() {
  free_slots_.insert(free_slots_.end(), sweeping_.begin(), sweeping_.end());
  sweeping_.clear();
}

size_t KvIndex::bytes() const {
  return entries_.capacity() * sizeof(Entry) + rows_.capacity() * sizeof(uint64_t) +
         free_rows_.capacity() * sizeof(uint32_t) + live_.capacity() * sizeof(uint64_t);
}

// The names are hashes already; multiplied, so that those of a bad one spread, too.
size_t KvIndex::home(uint64_t hash) const {
  return hash * 0x9E3779B97F4A7C15 >> (kWordBits - static_cast<size_t>(std::countr_zero(entries_.size())));
}

size_t KvIndex::find(uint64_t hash) const {
  const size_t mask = entries_.size() - 1;
  size_t at = home(hash);
  while (entries_[at].hash != 0 && entries_[at].hash != hash) at = (at + 1) & mask;
  return at;
}

// Linear probing without gravestones: what stands behind the gap and may stand in it moves up.
void KvIndex::erase(size_t entry) {
  const size_t mask = entries_.size() - 1;
  size_t gap = entry;
  for (size_t at = (gap + 1) & mask; entries_[at].hash != 0; at = (at + 1) & mask) {
    const size_t distance_home = (at - home(entries_[at].hash)) & mask;
    const size_t distance_gap = (at - gap) & mask;
    if (distance_home < distance_gap) continue;
    entries_[gap] = entries_[at];
    if (gap < sweep_at_ && at >= sweep_at_) sweep_at_ = gap;  // it has not been swept
    gap = at;
  }
  entries_[gap] = {};
  --used_;
}

void KvIndex::grow() {
  std::vector<Entry> old(entries_.size() * 2);
  old.swap(entries_);
  for (const Entry& entry : old) {
    if (entry.hash != 0) entries_[find(entry.hash)] = entry;
  }
  sweep_at_ = 0;
}

uint32_t KvIndex::take_row() {
  if (!free_rows_.empty()) {
    const uint32_t free = free_rows_.back();
    free_rows_.pop_back();
    return free;
  }
  const auto number = static_cast<uint32_t>(rows_.size() / row_words_);
  if (rows_.size() + row_words_ > rows_.capacity()) rows_.reserve(rows_.size() + rows_.size() / 4 + row_words_);
  rows_.resize(rows_.size() + row_words_);
  return kRow + number;
}

void KvIndex::widen_rows(size_t words) {
  std::vector<uint64_t> wider(rows_.size() / row_words_ * words);
  for (size_t i = 0; i < rows_.size(); ++i) wider[i / row_words_ * words + i % row_words_] = rows_[i];
  rows_ = std::move(wider);
  row_words_ = words;
  live_.resize(words);
}

}  // namespace bellwether::scheduler
