#include "text/grammar/token_masks.h"

#include <algorithm>
#include <utility>

namespace bellwether::text::grammar {
namespace {

constexpr size_t kSetsBefore = 2;  // those of Recognizer::begin_in()

void set_bits(std::span<uint64_t> words, std::span<const TokenId> ids) {
  for (const TokenId id : ids) words[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
}

}  // namespace

void TokenMasks::Part::add_to(std::span<uint64_t> allowed) const {
  for (size_t i = 0; i < words.size(); ++i) allowed[i] |= words[i];
  set_bits(allowed, tokens);
}

size_t TokenMasks::Part::bytes() const {
  return sizeof(Part) + words.size() * sizeof(uint64_t) + after.size() * sizeof(TokenTrie::Node) +
         (tokens.size() + after_tokens.size()) * sizeof(TokenId);
}

TokenMasks::TokenMasks(std::shared_ptr<const Automaton> automaton, std::shared_ptr<const Vocabulary> vocabulary)
    : automaton_(std::move(automaton)),
      vocabulary_(std::move(vocabulary)),
      masks_(automaton_->state_count()),
      recognizer_(*automaton_),
      likeness_(*automaton_) {}

std::shared_ptr<const TokenMasks::StateMask> TokenMasks::kept(State state) const {
  const std::lock_guard lock(mutex_);
  return masks_[state];
}

size_t TokenMasks::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

uint64_t TokenMasks::computed() const {
  const std::lock_guard lock(mutex_);
  return computed_;
}

std::shared_ptr<const TokenMasks::StateMask> TokenMasks::of(State state) {
  if (auto mask = kept(state)) return mask;
  const std::lock_guard computing(computing_);
  if (auto mask = kept(state)) return mask;  // another thread computed it meanwhile
  if (bytes() > automaton_->limits().mask_bytes_max) forget();
  const auto mask = std::make_shared<const StateMask>(short_part_of(state), compute(state, vocabulary_->long_tokens()));
  const std::lock_guard lock(mutex_);
  masks_[state] = mask;
  bytes_ += sizeof(StateMask) + mask->long_tokens.bytes();
  return mask;
}

void TokenMasks::forget() {
  short_parts_.clear();
  const std::lock_guard lock(mutex_);
  std::ranges::fill(masks_, nullptr);
  bytes_ = 0;
}

std::shared_ptr<const TokenMasks::Part> TokenMasks::short_part_of(State state) {
  const uint64_t likeness = likeness_.of(state, Vocabulary::kShortBytesMax);
  std::shared_ptr<const Part>& part = short_parts_[{likeness, automaton_->rule_of(state)}];
  if (part == nullptr) {
    part = std::make_shared<const Part>(compute(state, vocabulary_->short_tokens()));
    const std::lock_guard lock(mutex_);
    bytes_ += part->bytes();
    ++computed_;
  }
  return part;
}

TokenMasks::Part TokenMasks::compute(State state, const TokenTrie& trie) {
  Part part;
  std::vector<uint32_t> exits;  // nodes where the rule ends and tokens go on
  const auto nodes = trie.nodes();
  recognizer_.begin_in(state);
  // Single bytes and markers first: they make sure that a mask is not empty, whatever the work.
  size_t markers = nodes.size();
  for (size_t i = 0; i < nodes.size(); i = nodes[i].end) {
    if (nodes[i].byte == static_cast<uint8_t>(kMarkerByte)) {
      markers = i;
    } else if (automaton_->next(state, nodes[i].byte) != Automaton::kNone) {
      const auto tokens = trie.tokens_at(i);
      part.tokens.insert(part.tokens.end(), tokens.begin(), tokens.end());
    }
  }
  walk(trie, markers, nodes.size(), part.tokens, exits);
  walk(trie, 0, markers, part.tokens, exits);
  merge_after(trie, exits, automaton_->rule_of(state), 0, part);
  if (!part.after.empty()) part.after.push_back({.tokens = static_cast<uint32_t>(part.after_tokens.size())});

  const size_t words = vocabulary_->mask_words();
  if (part.tokens.size() * sizeof(TokenId) > words * sizeof(uint64_t) / 4) {
    part.words.resize(words);
    set_bits(part.words, std::exchange(part.tokens, {}));
  }
  part.tokens.shrink_to_fit();
  part.after.shrink_to_fit();
  part.after_tokens.shrink_to_fit();
  return part;
}

void TokenMasks::walk(const TokenTrie& trie, size_t begin, size_t end, std::vector<TokenId>& fitting,
                      std::vector<uint32_t>& exits) {
  const auto nodes = trie.nodes();
  const uint64_t work_end = recognizer_.work() + automaton_->limits().state_mask_work_max;
  for (size_t i = begin; i < end && recognizer_.work() < work_end;) {
    const TokenTrie::Node& node = nodes[i];
    recognizer_.pop_to(kSetsBefore + node.depth - 1);
    if (!recognizer_.read(node.byte)) {
      i = node.end;
      continue;
    }
    if (node.depth > 1) {
      const auto tokens = trie.tokens_at(i);
      fitting.insert(fitting.end(), tokens.begin(), tokens.end());
    }
    if (recognizer_.may_end() && node.end > i + 1) exits.push_back(static_cast<uint32_t>(i));
    ++i;
  }
}

// Adds what is below these nodes, as if they were one; beginning, at depth 0, with a byte that may follow the rule.
void TokenMasks::merge_after(const TokenTrie& trie, const std::vector<uint32_t>& nodes, Rule rule, uint16_t depth,
                             Part& part) const {
  const auto all = trie.nodes();
  std::vector<std::pair<uint8_t, uint32_t>> children;
  for (const uint32_t node : nodes) {
    for (uint32_t child = node + 1; child < all[node].end; child = all[child].end) {
      const uint8_t byte = all[child].byte;
      if (depth > 0 || automaton_->may_follow(rule, byte)) children.emplace_back(byte, child);
    }
  }
  std::ranges::sort(children);
  std::vector<uint32_t> alike;
  for (size_t begin = 0; begin < children.size();) {
    const uint8_t byte = children[begin].first;
    alike.clear();
    for (; begin < children.size() && children[begin].first == byte; ++begin) alike.push_back(children[begin].second);
    const size_t at = part.after.size();
    part.after.push_back({.tokens = static_cast<uint32_t>(part.after_tokens.size()),
                          .depth = static_cast<uint16_t>(depth + 1),
                          .byte = byte});
    for (const uint32_t node : alike) {
      const auto tokens = trie.tokens_at(node);
      part.after_tokens.insert(part.after_tokens.end(), tokens.begin(), tokens.end());
    }
    merge_after(trie, alike, rule, depth + 1, part);
    part.after[at].end = static_cast<uint32_t>(part.after.size());
  }
}

}  // namespace bellwether::text::grammar
