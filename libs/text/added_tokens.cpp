#include "text/added_tokens.h"

namespace bellwether::text {

void AddedTokenMatcher::add(std::string_view content, TokenId id) {
  Node node = 0;
  for (const char byte : content) {
    const auto [found, is_new] = edges_.try_emplace(edge(node, byte), nodes_);
    if (is_new) ++nodes_;
    node = found->second;
  }
  ids_[node] = id;
  begins_[static_cast<uint8_t>(content[0])] = true;
}

std::optional<AddedTokenMatcher::Match> AddedTokenMatcher::find(std::string_view text, size_t from) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!begins_[static_cast<uint8_t>(text[begin])]) continue;
    if (const auto match = match_at(text, begin)) return match;
  }
  return std::nullopt;
}

std::optional<AddedTokenMatcher::Match> AddedTokenMatcher::match_at(std::string_view text, size_t begin) const {
  std::optional<Match> longest;
  Node node = 0;
  for (size_t at = begin; at < text.size(); ++at) {
    const auto next = edges_.find(edge(node, text[at]));
    if (next == edges_.end()) break;
    node = next->second;
    if (const auto id = ids_.find(node); id != ids_.end()) longest = Match{begin, at + 1 - begin, id->second};
  }
  return longest;
}

}  // namespace bellwether::text
