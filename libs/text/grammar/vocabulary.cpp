#include "text/grammar/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace bellwether::text::grammar {
namespace {

constexpr size_t kTokenBytesMax = 1 << 10;  // longer ones are never used

std::vector<std::string> bytes_of(const Tokenizer& tokenizer, int64_t vocab_size) {
  std::vector<std::string> bytes(static_cast<size_t>(vocab_size));
  const auto known = static_cast<TokenId>(std::min<int64_t>(vocab_size, tokenizer.id_limit()));
  for (TokenId id = 0; id < known; ++id) {
    const std::string_view token = tokenizer.bytes(id);
    if (token.empty() || token.size() >= kTokenBytesMax) continue;
    const bool is_added = tokenizer.id_of_added_token(token) == id;
    if (!is_added && token.find(kMarkerByte) != std::string_view::npos) continue;  // never in UTF-8
    std::string& entry = bytes[static_cast<size_t>(id)];
    if (is_added) entry += kMarkerByte;
    entry += token;
  }
  return bytes;
}

size_t common_beginning(std::string_view a, std::string_view b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

}  // namespace

Vocabulary::Vocabulary(const Tokenizer& tokenizer, int64_t vocab_size) : Vocabulary(bytes_of(tokenizer, vocab_size)) {}

Vocabulary::Vocabulary(std::vector<std::string> tokens)
    : bytes_(std::move(tokens)), short_(trie_of(true)), long_(trie_of(false)) {
  for (const std::string& bytes : bytes_) {
    if (bytes.starts_with(kMarkerByte)) markers_.insert(bytes.substr(1));
  }
  check_bytes();
}

TokenTrie Vocabulary::trie_of(bool is_short) const {
  std::vector<TokenId> ids;
  for (size_t i = 0; i < bytes_.size(); ++i) {
    if (!bytes_[i].empty() && (bytes_[i].size() <= kShortBytesMax) == is_short) ids.push_back(static_cast<TokenId>(i));
  }
  return {bytes_, std::move(ids)};
}

void Vocabulary::check_bytes() const {
  std::vector<bool> has(256);
  const auto nodes = short_.nodes();
  for (size_t i = 0; i < nodes.size(); i = nodes[i].end) has[nodes[i].byte] = !short_.tokens_at(i).empty();
  for (size_t byte = 0; byte < 256; ++byte) {
    const bool in_utf8 = byte < 0xC0 || (byte >= 0xC2 && byte <= 0xF4);
    if (in_utf8 && !has[byte]) {
      throw TextError(fmt::format("the tokenizer has no token for the single byte 0x{:02X}", byte));
    }
  }
}

TokenTrie::TokenTrie(const std::vector<std::string>& tokens, std::vector<TokenId> ids) {
  const auto bytes = [&](TokenId id) -> std::string_view { return tokens[static_cast<size_t>(id)]; };
  std::sort(ids.begin(), ids.end(), [&](TokenId a, TokenId b) {
    const int order = bytes(a).compare(bytes(b));
    return order != 0 ? order < 0 : a < b;
  });
  std::vector<size_t> open;  // the nodes on the way to the last one
  std::string_view before;
  for (const TokenId id : ids) {
    const std::string_view token = bytes(id);
    const size_t common = common_beginning(before, token);
    for (; open.size() > common; open.pop_back()) nodes_[open.back()].end = static_cast<uint32_t>(nodes_.size());
    for (size_t i = common; i < token.size(); ++i) {
      open.push_back(nodes_.size());
      nodes_.push_back({.tokens = static_cast<uint32_t>(tokens_.size()),
                        .depth = static_cast<uint16_t>(i + 1),
                        .byte = static_cast<uint8_t>(token[i])});
    }
    tokens_.push_back(id);
    before = token;
  }
  for (const size_t node : open) nodes_[node].end = static_cast<uint32_t>(nodes_.size());
  nodes_.push_back({.end = 0, .tokens = static_cast<uint32_t>(tokens_.size())});
}

}  // namespace bellwether::text::grammar
