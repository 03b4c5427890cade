#include "engine/kv_cache.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "engine/invariant.h"

namespace bellwether::engine {
namespace {

// Appends to the last event where that says the same.
void add_stored(std::vector<KvEvent>& events, uint64_t parent_hash, uint64_t hash) {
  const bool extends =
      !events.empty() && events.back().kind == KvEvent::Kind::kStored && events.back().hashes.back() == parent_hash;
  if (!extends) events.push_back({.kind = KvEvent::Kind::kStored, .parent_hash = parent_hash});
  events.back().hashes.push_back(hash);
}

void add_removed(std::vector<KvEvent>& events, uint64_t hash) {
  if (events.empty() || events.back().kind != KvEvent::Kind::kRemoved) {
    events.push_back({.kind = KvEvent::Kind::kRemoved});
  }
  events.back().hashes.push_back(hash);
}

}  // namespace

KvCache::KvCache(int64_t blocks)
    : blocks_(static_cast<size_t>(blocks)), holders_(static_cast<size_t>(blocks)), empty_(static_cast<size_t>(blocks)) {
  std::iota(empty_.rbegin(), empty_.rend(), 0);
}

int32_t KvCache::take() {
  require(free() > 0, "a KV block is wanted and none is free");
  int32_t block = 0;
  if (!empty_.empty()) {
    block = empty_.back();
    empty_.pop_back();
  } else {
    block = evictable_.front();
    evictable_.pop_front();
    add_removed(events_, blocks_[block].hash);
    by_hash_.erase(blocks_[block].hash);
    blocks_[block].hash = 0;
  }
  holders_[block] = 1;
  return block;
}

bool KvCache::holds(const Block& block, const BlockContent& content) const {
  return block.parent == content.parent && block.prompt_tokens == content.prompt_tokens && block.salt == content.salt &&
         std::ranges::equal(block.ids, content.ids);
}

std::optional<int32_t> KvCache::find(const BlockContent& content) const {
  const auto found = by_hash_.find(content.hash);
  if (found == by_hash_.end() || !holds(blocks_[found->second], content)) return std::nullopt;
  return found->second;
}

void KvCache::share(int32_t block) {
  require(blocks_[block].hash != 0, "a KV block that cannot be found is shared");
  if (holders_[block]++ == 0) evictable_.erase(blocks_[block].evictable);
}

std::optional<int32_t> KvCache::store(int32_t block, const BlockContent& content) {
  require(holders_[block] == 1 && blocks_[block].hash == 0, "a KV block is stored twice");
  const auto [entry, is_new] = by_hash_.try_emplace(content.hash, block);
  if (!is_new) {
    if (!holds(blocks_[entry->second], content)) return std::nullopt;
    share(entry->second);
    give_back(block);
    return entry->second;
  }
  Block& stored = blocks_[block];
  stored.hash = content.hash;
  stored.parent = content.parent;
  stored.ids.assign(content.ids.begin(), content.ids.end());
  stored.prompt_tokens = content.prompt_tokens;
  stored.salt = content.salt;
  add_stored(events_, parent_hash(stored), stored.hash);
  return block;
}

uint64_t KvCache::parent_hash(const Block& block) const {
  return block.parent < 0 ? 0 : blocks_[block.parent].hash;
}

void KvCache::give_back(int32_t block) {
  require(holders_[block] > 0, "a KV block is given back twice");
  if (--holders_[block] > 0) return;
  if (blocks_[block].hash == 0) {
    empty_.push_back(block);
  } else {
    blocks_[block].evictable = evictable_.insert(evictable_.end(), block);
  }
}

void KvCache::release(std::span<const int32_t> blocks) {
  for (size_t i = blocks.size(); i-- > 0;) give_back(blocks[i]);
}

void KvCache::clear(int64_t blocks) {
  *this = KvCache(blocks);
  events_.push_back({.kind = KvEvent::Kind::kCleared});
}

std::vector<KvEvent> KvCache::dump() const {
  std::unordered_multimap<int32_t, int32_t> children;
  for (const auto& [hash, block] : by_hash_) children.emplace(blocks_[block].parent, block);
  std::vector<KvEvent> events;
  std::vector<int32_t> left = {-1};  // whose children come next; the last first, so that chains stay together
  while (!left.empty()) {
    const auto [begin, end] = children.equal_range(left.back());
    left.pop_back();
    for (auto child = begin; child != end; ++child) left.push_back(child->second);
    if (!left.empty()) add_stored(events, parent_hash(blocks_[left.back()]), blocks_[left.back()].hash);
  }
  return events;
}

}  // namespace bellwether::engine
