#include "text/grammar/matcher.h"

#include <algorithm>
#include <utility>

namespace bellwether::text::grammar {
namespace {

constexpr size_t kSetsBeforeCompaction = 1024;

void allow(std::span<uint64_t> allowed, std::span<const TokenId> ids) {
  for (const TokenId id : ids) allowed[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
}

}  // namespace

Matcher::Matcher(std::shared_ptr<TokenMasks> masks, std::vector<TokenId> end_ids)
    : masks_(std::move(masks)), end_ids_(std::move(end_ids)), recognizer_(masks_->automaton()) {
  recognizer_.begin();
}

void Matcher::fill_allowed(std::span<uint64_t> allowed) {
  if (may_end()) allow(allowed, end_ids_);
  if (is_ended_ || is_broken_) return;
  const auto items = recognizer_.items();
  if (last_words_.empty() || !std::ranges::equal(items, last_items_)) {
    last_items_.assign(items.begin(), items.end());
    last_words_.assign(masks_->vocabulary().mask_words(), 0);
    fill_by_items(last_words_);
  }
  for (size_t i = 0; i < last_words_.size(); ++i) allowed[i] |= last_words_[i];
}

std::vector<State> Matcher::missing_masks() const {
  std::vector<State> missing;
  if (is_ended_ || is_broken_) return missing;
  for (const Item& item : recognizer_.items()) {
    const bool is_missing = masks_->automaton().reads_bytes(item.state) && masks_->kept(item.state) == nullptr;
    if (is_missing) missing.push_back(item.state);
  }
  return missing;
}

void Matcher::fill_by_items(std::span<uint64_t> allowed) {
  work_end_ = recognizer_.work() + masks_->automaton().limits().mask_work_max;
  for (const Item& item : last_items_) {
    if (!masks_->automaton().reads_bytes(item.state)) continue;
    const auto mask = masks_->of(item.state);
    mask->short_tokens->add_to(allowed);
    mask->long_tokens.add_to(allowed);
    const bool goes_on = !mask->short_tokens->after.empty() || !mask->long_tokens.after.empty();
    if (goes_on && item.origin != 0) fill_after(item, *mask, allowed);
  }
}

// Tokens that go on after the end of the item's rule. What may follow there is the same wherever the rule ends.
void Matcher::fill_after(const Item& item, const TokenMasks::StateMask& mask, std::span<uint64_t> allowed) {
  const size_t sets = recognizer_.set_count();
  if (!recognizer_.end_rule(masks_->automaton().rule_of(item.state), item.origin)) return;
  walk_after(*mask.short_tokens, allowed);
  walk_after(mask.long_tokens, allowed);
  recognizer_.pop_to(sets);
}

void Matcher::walk_after(const TokenMasks::Part& part, std::span<uint64_t> allowed) {
  const size_t base = recognizer_.set_count();
  const auto nodes = part.after_nodes();
  for (size_t i = 0; i < nodes.size() && recognizer_.work() < work_end_;) {
    recognizer_.pop_to(base + nodes[i].depth - 1);
    if (!recognizer_.read(nodes[i].byte)) {
      i = nodes[i].end;
      continue;
    }
    allow(allowed, part.after_tokens_at(i));
    ++i;
  }
  recognizer_.pop_to(base);
}

void Matcher::accept(TokenId id) {
  if (is_ended_ || is_broken_) return;
  if (std::ranges::find(end_ids_, id) != end_ids_.end() && recognizer_.may_end()) {
    is_ended_ = true;
    return;
  }
  const bool is_known = id >= 0 && static_cast<size_t>(id) < masks_->vocabulary().size();
  const std::string_view bytes = is_known ? masks_->vocabulary().bytes(id) : std::string_view();
  is_broken_ = bytes.empty() ||
               !std::ranges::all_of(bytes, [&](char byte) { return recognizer_.read(static_cast<uint8_t>(byte)); });
  if (recognizer_.set_count() < 2 * sets_after_compaction_ + kSetsBeforeCompaction) return;
  recognizer_.compact();
  sets_after_compaction_ = recognizer_.set_count();
  last_words_.clear();  // origins have other names now
}

}  // namespace bellwether::text::grammar
