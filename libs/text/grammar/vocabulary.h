// A model's tokens as the bytes that they add to a text, in order, for walks that share beginnings.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace bellwether::text::grammar {

// In a grammar a marker, a token that is no part of ordinary text, is written as this byte, which UTF-8 never has, and
// its text. Every added token is one: its text is never made of ordinary tokens' bytes, and it never continues one.
inline constexpr char kMarkerByte = '\xFF';

// Tokens by their bytes, beginnings shared.
class TokenTrie {
 public:
  struct Node {           // in depth-first order; the root is not among them
    uint32_t end = 0;     // index of the first node that is not below it
    uint32_t tokens = 0;  // index of its first token; the next node's is the end
    uint16_t depth = 0;   // from 1
    uint8_t byte = 0;
  };

  // Those of the tokens that are listed. REQUIRES: their bytes are not empty.
  TokenTrie(const std::vector<std::string>& tokens, std::vector<TokenId> ids);

  [[nodiscard]] std::span<const Node> nodes() const { return {nodes_.data(), nodes_.size() - 1}; }
  [[nodiscard]] std::span<const TokenId> tokens_at(size_t node) const {
    return std::span(tokens_).subspan(nodes_[node].tokens, nodes_[node + 1].tokens - nodes_[node].tokens);
  }

 private:
  std::vector<Node> nodes_;      // and one more, behind the last
  std::vector<TokenId> tokens_;  // in the nodes' order
};

// Immutable after construction.
class Vocabulary {
 public:
  // Most tokens have no more bytes.
  static constexpr size_t kShortBytesMax = 24;

  // Ids below `vocab_size`; those that stand for nothing never match. Throws TextError when some byte of UTF-8 is no
  // token by itself, without which a text may come to a place where no token fits.
  Vocabulary(const Tokenizer& tokenizer, int64_t vocab_size);
  // The same of tokens given as bytes, "" for nothing; markers as markers.
  explicit Vocabulary(std::vector<std::string> tokens);

  [[nodiscard]] size_t size() const { return bytes_.size(); }
  [[nodiscard]] size_t mask_words() const { return (bytes_.size() + 63) / 64; }
  // What a grammar reads for a token, with kMarkerByte in front of a marker. REQUIRES: 0 <= id < size().
  [[nodiscard]] std::string_view bytes(TokenId id) const { return bytes_[static_cast<size_t>(id)]; }
  [[nodiscard]] bool has_marker(std::string_view text) const { return markers_.contains(text); }

  [[nodiscard]] const TokenTrie& short_tokens() const { return short_; }  // of at most kShortBytesMax bytes
  [[nodiscard]] const TokenTrie& long_tokens() const { return long_; }

 private:
  [[nodiscard]] TokenTrie trie_of(bool is_short) const;
  void check_bytes() const;

  std::vector<std::string> bytes_;  // by id
  std::set<std::string, std::less<>> markers_;
  TokenTrie short_;
  TokenTrie long_;
};

}  // namespace bellwether::text::grammar
