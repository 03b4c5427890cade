// Finds added tokens in raw text.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include <boost/unordered/unordered_flat_map.hpp>

#include "text/tokenizer.h"

namespace bellwether::text {

// A set of strings with ids, searched leftmost first and among those longest first, as Hugging Face does.
class AddedTokenMatcher {
 public:
  struct Match {
    size_t begin;  // byte offset
    size_t length;
    TokenId id;
  };

  // REQUIRES: `content` is not empty.
  void add(std::string_view content, TokenId id);
  [[nodiscard]] bool empty() const { return ids_.empty(); }
  // The first match that begins at `from` or later.
  [[nodiscard]] std::optional<Match> find(std::string_view text, size_t from) const;

 private:
  using Node = uint32_t;  // of a trie; 0 is the root

  static uint64_t edge(Node node, char byte) { return uint64_t{node} << 8 | static_cast<uint8_t>(byte); }
  [[nodiscard]] std::optional<Match> match_at(std::string_view text, size_t begin) const;

  boost::unordered_flat_map<uint64_t, Node> edges_;
  boost::unordered_flat_map<Node, TokenId> ids_;  // of the nodes where a token ends
  std::array<bool, 256> begins_{};                // bytes that a token begins with
  Node nodes_ = 1;
};

}  // namespace bellwether::text
