// Which replica's cache holds which block: from a block's name (engine/block_hash.h) to the set of its holders.
//
// A block's name stands for all tokens up to its end, and a cache that holds a block holds those before it. So the
// blocks of a prompt are looked up in order, and with each the set of replicas that hold all so far shrinks.
//
// Replicas have small numbers, slots. A block of one holder takes an entry of 16 bytes in an open table; one of several
// takes a row of bits, one for each slot, in a pool beside it. Forgetting a replica takes no time: its slot is marked
// and its entries are swept a few at a time; the slot is given again when they are gone.
//
// Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace bellwether::scheduler {

class KvIndex {
 public:
  static constexpr size_t kSlotsMax = 8192;

  // At most so many different blocks; what comes when it is full is not stored. What is missing is taken as not cached.
  explicit KvIndex(size_t blocks_max);

  // A slot that holds nothing. Nothing when all are taken or not swept yet.
  [[nodiscard]] std::optional<size_t> add_replica();
  // REQUIRES: add_replica() gave the slot, and it has not been removed.
  void remove_replica(size_t slot);

  // REQUIRES: the slot is a replica's; the hash is not 0. store() is false when the index is full.
  bool store(size_t slot, uint64_t hash);
  void remove(size_t slot, uint64_t hash);
  [[nodiscard]] bool holds(size_t slot, uint64_t hash) const;

  // How many of these blocks, from the first on, each replica holds without a gap, by slot; `counts` is given the size
  // slots().
  void match(std::span<const uint64_t> hashes, std::vector<uint32_t>& counts) const;

  // Looks at `entries` entries for those of removed replicas. Call it now and then.
  void sweep(size_t entries);

  [[nodiscard]] size_t slots() const { return slots_; }  // given so far, removed ones among them
  [[nodiscard]] size_t blocks() const { return used_; }
  [[nodiscard]] size_t blocks_max() const { return blocks_max_; }
  [[nodiscard]] size_t bytes() const;                          // of memory
  [[nodiscard]] uint64_t refused() const { return refused_; }  // blocks that came when it was full

 private:
  // `holders`: the slot of the only one, or kRow + the number of a row.
  struct Entry {
    uint64_t hash = 0;  // 0 = no entry
    uint32_t holders = 0;
  };
  static constexpr uint32_t kRow = uint32_t{1} << 31;

  [[nodiscard]] size_t home(uint64_t hash) const;
  [[nodiscard]] size_t find(uint64_t hash) const;  // the entry, or the empty one where it would be
  void erase(size_t entry);
  void grow();
  uint32_t take_row();
  void widen_rows(size_t words);
  [[nodiscard]] uint64_t* row(uint32_t holders) { return rows_.data() + (holders - kRow) * row_words_; }
  [[nodiscard]] const uint64_t* row(uint32_t holders) const { return rows_.data() + (holders - kRow) * row_words_; }
  void drop_holder(size_t entry, size_t slot);
  bool sweep_entry(size_t entry);
  void finish_sweep();

  size_t blocks_max_;
  std::vector<Entry> entries_;  // a power of two
  size_t used_ = 0;
  uint64_t refused_ = 0;
  std::vector<uint64_t> rows_;  // row_words_ words each
  size_t row_words_ = 1;
  std::vector<uint32_t> free_rows_;

  size_t slots_ = 0;
  std::vector<uint64_t> live_;  // a bit for each slot that is a replica's
  std::vector<size_t> free_slots_;
  std::vector<size_t> sweeping_;  // removed before the sweep in progress began
  std::vector<size_t> to_sweep_;  // removed since
  size_t sweep_at_ = 0;
};

}  // namespace bellwether::scheduler
