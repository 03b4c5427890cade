#include "text/grammar/recognizer.h"

#include <algorithm>

namespace bellwether::text::grammar {
namespace {

constexpr size_t kFewItems = 8;  // searched one by one

uint64_t hash_of(const Item& item) {
  return ((uint64_t{item.state} << 32 | item.origin) * 0x9E3779B97F4A7C15ULL) >> 20;
}

}  // namespace

Recognizer::Recognizer(const Automaton& automaton) : automaton_(automaton) {
  // At most half full: a set is given up at items_max, a power of two that holds twice as many is enough.
  size_t slots = 64;
  while (slots < 2 * (automaton.limits().items_max + 1)) slots *= 2;
  seen_.resize(slots);
}

void Recognizer::begin() {
  items_.clear();
  sets_.assign(1, {.begin = 0, .may_end = false});
  push_set();
  add({.state = automaton_.first_of(0), .origin = 0});
  (void)finish_set();
}

void Recognizer::begin_in(State state) {
  items_.assign(1, {.state = state, .origin = 0});
  sets_.assign(1, {.begin = 0, .may_end = false});
  sets_.push_back({.begin = 0, .may_end = false});
}

void Recognizer::push_set() {
  sets_.push_back({.begin = items_.size(), .may_end = false});
  ++generation_;
}

void Recognizer::pop_to(size_t sets) {
  if (sets == sets_.size()) return;
  items_.resize(sets_[sets].begin);
  sets_.resize(sets);
}

std::span<const Item> Recognizer::items_of(uint32_t set) const {
  const size_t end = set + size_t{1} < sets_.size() ? sets_[set + 1].begin : items_.size();
  return std::span(items_).subspan(sets_[set].begin, end - sets_[set].begin);
}

void Recognizer::add(Item item) {
  const size_t begin = sets_.back().begin;
  const size_t count = items_.size() - begin;
  if (count < kFewItems) {
    if (std::find(items_.begin() + static_cast<ptrdiff_t>(begin), items_.end(), item) != items_.end()) return;
  } else {
    if (count == kFewItems) {
      for (size_t i = begin; i < items_.size(); ++i) {
        size_t slot = hash_of(items_[i]) % seen_.size();
        while (seen_[slot].second == generation_) slot = (slot + 1) % seen_.size();
        seen_[slot] = {items_[i], generation_};
      }
    }
    size_t slot = hash_of(item) % seen_.size();
    for (; seen_[slot].second == generation_; slot = (slot + 1) % seen_.size()) {
      if (seen_[slot].first == item) return;
    }
    if (count >= automaton_.limits().items_max) {
      overflowed_ = true;
      return;
    }
    seen_[slot] = {item, generation_};
  }
  items_.push_back(item);
}

bool Recognizer::read(uint8_t byte) {
  const size_t begin = sets_.back().begin;
  const size_t end = items_.size();
  work_ += end - begin;
  if (end - begin == 1) {  // inside of a string, mostly
    const Item item = items_[begin];
    const State next = automaton_.next(item.state, byte);
    if (next == Automaton::kNone) return false;
    if (automaton_.is_plain(next)) {
      sets_.push_back({.begin = end, .may_end = false});
      items_.push_back({.state = next, .origin = item.origin});
      return true;
    }
  }
  push_set();
  for (size_t i = begin; i < end; ++i) {
    const State next = automaton_.next(items_[i].state, byte);
    if (next != Automaton::kNone) add({.state = next, .origin = items_[i].origin});
  }
  return finish_set();
}

bool Recognizer::end_rule(Rule rule, uint32_t origin) {
  push_set();
  complete(rule, origin);
  return finish_set();
}

// Adds what follows from the last set's items: rules that begin, and those that go on after one that ended.
bool Recognizer::finish_set() {
  const auto here = static_cast<uint32_t>(sets_.size() - 1);
  const bool had_overflowed = overflowed_;
  for (size_t i = sets_.back().begin; i < items_.size() && overflowed_ == had_overflowed; ++i) {
    const Item item = items_[i];
    ++work_;
    if (automaton_.is_plain(item.state)) continue;
    if (automaton_.is_last(item.state) && item.origin != here) complete(automaton_.rule_of(item.state), item.origin);
    for (const Automaton::Call& call : automaton_.calls(item.state)) {
      add({.state = automaton_.first_of(call.rule), .origin = here});
    }
  }
  const bool possible = overflowed_ == had_overflowed && (items_.size() > sets_.back().begin || sets_.back().may_end);
  if (!possible) pop_to(sets_.size() - 1);
  return possible;
}

void Recognizer::complete(Rule rule, uint32_t origin) {
  if (origin == 0) {
    sets_.back().may_end = true;
    return;
  }
  const size_t begin = sets_[origin].begin;
  const size_t count = items_of(origin).size();
  work_ += count;
  for (size_t i = begin; i < begin + count; ++i) {  // by index: add() moves the items
    for (const Automaton::Call& call : automaton_.calls(items_[i].state)) {
      if (call.rule == rule) add({.state = call.to, .origin = items_[i].origin});
    }
  }
}

void Recognizer::compact() {
  std::vector<bool> is_used(sets_.size());
  std::vector<uint32_t> wanted = {static_cast<uint32_t>(sets_.size() - 1)};
  is_used[0] = is_used.back() = true;
  while (!wanted.empty()) {
    const uint32_t set = wanted.back();
    wanted.pop_back();
    for (const Item& item : items_of(set)) {
      if (is_used[item.origin]) continue;
      is_used[item.origin] = true;
      wanted.push_back(item.origin);
    }
  }
  std::vector<uint32_t> renamed(sets_.size());
  std::vector<Item> items;
  std::vector<Set> sets;
  for (uint32_t set = 0; set < sets_.size(); ++set) {
    if (!is_used[set]) continue;
    renamed[set] = static_cast<uint32_t>(sets.size());  // of itself and of earlier ones only
    sets.push_back({.begin = items.size(), .may_end = sets_[set].may_end});
    for (const Item& item : items_of(set)) items.push_back({.state = item.state, .origin = renamed[item.origin]});
  }
  items_ = std::move(items);
  sets_ = std::move(sets);
}

}  // namespace bellwether::text::grammar
