// Who holds which block of the KV cache, and which blocks can be shared. The keys and values themselves belong to the
// forward pass; this only numbers their blocks.
//
// A block is held by one or more sequences, or it is free. Full blocks whose tokens are computed can be stored under
// the hash of their content (block_hash.h): then they stay findable, held or free, until the space is needed. Of the
// free ones those without content are taken first, then the one that has been free longest.
//
// A child never outlives its parent among the findable blocks:
// - who holds a stored block holds its parent, because share() and store() only ever extend a chain that is held;
// - release() gives the blocks of a sequence back last to first, so the last holder of a child, who holds the parent
//   too, frees the child first: a free child has been free for longer than its parent, and is taken before it.
// Hence a findable block's parent is findable, and is still the block it was when the child was stored. So comparing
// one block's ids and the number of its parent compares all tokens from the sequence's first on, and blocks whose
// hashes collide are never taken for each other.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/engine.h"
#include "engine/kv_blocks.h"

namespace bellwether::engine {

// What is in a full block. Equal contents of equal parents are equal keys and values, bit for bit (forward.h).
struct BlockContent {
  uint64_t hash = 0;             // as block_hash.h has it
  int32_t parent = -1;           // the block before it in its sequence; -1 = none
  std::span<const int32_t> ids;  // kBlockTokens of them
  int64_t prompt_tokens = 0;     // how many of them belong to the prompt
  uint64_t salt = 0;
};

class KvCache {
 public:
  explicit KvCache(int64_t blocks);

  // A free block, held once from now on. Aborts when none is free: the planner never plans more than there is.
  [[nodiscard]] int32_t take();

  // The block with this content, if there is one. REQUIRES: the parent is such a block.
  [[nodiscard]] std::optional<int32_t> find(const BlockContent& content) const;
  // Holds a block that find() gave, once more. REQUIRES: the caller holds its parent.
  void share(int32_t block);

  // Makes a full block findable, and returns the block that the caller holds from now on: this one, or an older one of
  // the same content, for which this one is given back. Nothing when another content has this hash: then neither it nor
  // what follows it can be stored. REQUIRES: the caller holds `block`, which was not stored before, and its parent,
  // which is what store() or find() gave.
  [[nodiscard]] std::optional<int32_t> store(int32_t block, const BlockContent& content);

  // Gives back a sequence's blocks, all of them, in the order of its tokens. Aborts when one is not held.
  void release(std::span<const int32_t> blocks);

  // Gives back and forgets everything; from now on there are so many blocks.
  void clear(int64_t blocks);

  [[nodiscard]] int64_t total() const { return static_cast<int64_t>(blocks_.size()); }
  [[nodiscard]] int64_t free() const { return static_cast<int64_t>(empty_.size() + evictable_.size()); }
  [[nodiscard]] int64_t used() const { return total() - free(); }
  [[nodiscard]] std::span<const int32_t> holders() const { return holders_; }  // of each block; 0 = it is free

  // What became findable or was lost since the last call.
  [[nodiscard]] std::vector<KvEvent> take_events() { return std::exchange(events_, {}); }
  // All that is findable, parents before children.
  [[nodiscard]] std::vector<KvEvent> dump() const;

 private:
  struct Block {
    uint64_t hash = 0;  // 0 = not findable
    int32_t parent = -1;
    std::vector<int32_t> ids = {};
    int64_t prompt_tokens = 0;
    uint64_t salt = 0;
    std::list<int32_t>::iterator evictable = {};  // findable and free: its place there
  };

  [[nodiscard]] bool holds(const Block& block, const BlockContent& content) const;
  [[nodiscard]] uint64_t parent_hash(const Block& block) const;
  void give_back(int32_t block);

  std::vector<Block> blocks_;
  std::vector<int32_t> holders_;
  std::vector<int32_t> empty_;    // free and not findable; the last is taken next: it may still be in the CPU's caches
  std::list<int32_t> evictable_;  // free and findable, the first is taken next
  std::unordered_map<uint64_t, int32_t> by_hash_;
  std::vector<KvEvent> events_;
};

}  // namespace bellwether::engine
