// Byte-pair encoding.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/unordered/unordered_flat_map.hpp>

#include "text/tokenizer.h"

namespace bellwether::text {

// Hash of a short string of bytes.
struct BytesHash {
  using is_avalanching = void;
  using is_transparent = void;
  size_t operator()(std::string_view bytes) const;
};

// Two neighbours that become one, in the order of their learning: the earlier goes first.
struct BpeMerge {
  TokenId left;
  TokenId right;
  TokenId merged;
};

// Immutable: usable from several threads, each with its own Workspace.
class Bpe {
 public:
  using Vocabulary = boost::unordered_flat_map<std::string, TokenId, BytesHash, std::equal_to<>>;  // ids by bytes

  // A part of a piece: one token, its neighbours and what it makes with the next.
  struct Part {
    TokenId id;
    uint32_t previous;
    uint32_t next;
    uint32_t rank;  // of the merge with the next; kNoRank when there is none
    TokenId merged;
  };
  // Memory kept between pieces.
  struct Workspace {
    std::vector<Part> parts;
    std::vector<uint64_t> queue;  // a heap of (rank, index of the left part)
  };

  // REQUIRES: `vocabulary` has every byte that UTF-8 has. Of a pair given twice, the last counts, as Hugging Face does.
  // `ignore_merges`: a piece that is in the vocabulary is that token, whatever the merges say.
  Bpe(const Vocabulary& vocabulary, const std::vector<BpeMerge>& merges, bool ignore_merges);

  // Appends the ids of a piece. Time O(n log n) in its length. REQUIRES: not empty, UTF-8, shorter than 2^32 bytes.
  void encode(std::string_view piece, Workspace& workspace, std::vector<TokenId>& ids) const;

 private:
  struct Merge {
    uint32_t rank;
    TokenId merged;
  };

  void merge_all(std::string_view piece, Workspace& workspace) const;
  void join_with_next(Workspace& workspace, uint32_t index) const;
  void look_up_merge(Workspace& workspace, uint32_t index) const;

  std::array<TokenId, 256> id_of_byte_{};
  boost::unordered_flat_map<uint64_t, Merge> merges_;  // by the ids of both neighbours
  Vocabulary whole_;                                   // the tokens that their own bytes are encoded as
};

}  // namespace bellwether::text
