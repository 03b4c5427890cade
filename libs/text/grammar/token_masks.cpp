#include "text/grammar/token_masks.h"

#include <algorithm>
#include <utility>

namespace bellwether::text::grammar {

void TokenMasks::StateMask::add_to(std::span<uint64_t> allowed) const {
  for (size_t i = 0; i < words.size(); ++i) allowed[i] |= words[i];
  for (const TokenId id : tokens) allowed[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
}

size_t TokenMasks::StateMask::bytes() const {
  return sizeof(StateMask) + words.size() * sizeof(uint64_t) + after.size() * sizeof(Vocabulary::Node) +
         (tokens.size() + after_tokens.size()) * sizeof(TokenId);
}

TokenMasks::TokenMasks(std::shared_ptr<const Automaton> automaton, std::shared_ptr<const Vocabulary> vocabulary)
    : automaton_(std::move(automaton)),
      vocabulary_(std::move(vocabulary)),
      recognizer_(*automaton_),
      masks_(automaton_->state_count()) {}

const TokenMasks::StateMask& TokenMasks::of(State state) {
  if (masks_[state] == nullptr) {
    if (bytes_ > automaton_->limits().mask_bytes_max) {
      for (auto& mask : masks_) mask.reset();
      bytes_ = 0;
    }
    masks_[state] = std::make_unique<StateMask>(compute(state));
    bytes_ += masks_[state]->bytes();
    ++computed_;
  }
  return *masks_[state];
}

TokenMasks::StateMask TokenMasks::compute(State state) {
  StateMask mask;
  exits_.clear();
  const auto nodes = vocabulary_->nodes();
  recognizer_.begin_in(state);
  // Single bytes and markers first: they make sure that the mask is not empty, whatever the work.
  size_t markers = nodes.size();
  for (size_t i = 0; i < nodes.size(); i = nodes[i].end) {
    if (nodes[i].byte == static_cast<uint8_t>(kMarkerByte)) {
      markers = i;
    } else if (automaton_->next(state, nodes[i].byte) != Automaton::kNone) {
      const auto tokens = vocabulary_->tokens_at(i);
      mask.tokens.insert(mask.tokens.end(), tokens.begin(), tokens.end());
    }
  }
  walk(nodes, markers, nodes.size(), mask);
  walk(nodes, 0, markers, mask);
  std::ranges::sort(exits_);
  merge_after(exits_, 0, mask);
  if (!mask.after.empty()) mask.after.push_back({.tokens = static_cast<uint32_t>(mask.after_tokens.size())});

  const size_t words = vocabulary_->mask_words();
  if (mask.tokens.size() * sizeof(TokenId) > words * sizeof(uint64_t) / 4) {
    const std::vector<TokenId> tokens = std::exchange(mask.tokens, {});
    mask.words.resize(words);
    for (const TokenId id : tokens) mask.words[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
  }
  mask.tokens.shrink_to_fit();
  mask.after.shrink_to_fit();
  mask.after_tokens.shrink_to_fit();
  return mask;
}

void TokenMasks::walk(std::span<const Vocabulary::Node> nodes, size_t begin, size_t end, StateMask& mask) {
  const uint64_t work_end = recognizer_.work() + automaton_->limits().state_mask_work_max;
  constexpr size_t kBase = 2;  // sets of begin_in()
  for (size_t i = begin; i < end && recognizer_.work() < work_end;) {
    const Vocabulary::Node& node = nodes[i];
    recognizer_.pop_to(kBase + node.depth - 1);
    if (!recognizer_.read(node.byte)) {
      i = node.end;
      continue;
    }
    if (node.depth > 1) {
      const auto tokens = vocabulary_->tokens_at(i);
      mask.tokens.insert(mask.tokens.end(), tokens.begin(), tokens.end());
    }
    if (recognizer_.may_end() && node.end > i + 1) exits_.push_back(static_cast<uint32_t>(i));
    ++i;
  }
}

// Adds what is below these nodes of the vocabulary, as if they were one.
void TokenMasks::merge_after(std::vector<uint32_t> nodes, uint16_t depth, StateMask& mask) const {
  const auto all = vocabulary_->nodes();
  std::vector<std::pair<uint8_t, uint32_t>> children;
  for (const uint32_t node : nodes) {
    for (uint32_t child = node + 1; child < all[node].end; child = all[child].end) {
      children.emplace_back(all[child].byte, child);
    }
  }
  std::ranges::sort(children);
  for (size_t begin = 0; begin < children.size();) {
    const uint8_t byte = children[begin].first;
    nodes.clear();
    for (; begin < children.size() && children[begin].first == byte; ++begin) nodes.push_back(children[begin].second);
    const size_t at = mask.after.size();
    mask.after.push_back({.tokens = static_cast<uint32_t>(mask.after_tokens.size()),
                          .depth = static_cast<uint16_t>(depth + 1),
                          .byte = byte});
    for (const uint32_t node : nodes) {
      const auto tokens = vocabulary_->tokens_at(node);
      mask.after_tokens.insert(mask.after_tokens.end(), tokens.begin(), tokens.end());
    }
    merge_after(nodes, depth + 1, mask);
    mask.after[at].end = static_cast<uint32_t>(mask.after.size());
  }
}

}  // namespace bellwether::text::grammar
