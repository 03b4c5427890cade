#include "text/grammar/state_likeness.h"

namespace bellwether::text::grammar {
namespace {

uint64_t mixed(uint64_t hash, uint64_t value) {  // the finalizer of splitmix64
  hash = (hash ^ value) + 0x9E3779B97F4A7C15ULL;
  hash = (hash ^ hash >> 30) * 0xBF58476D1CE4E5B9ULL;
  hash = (hash ^ hash >> 27) * 0x94D049BB133111EBULL;
  return hash ^ hash >> 31;
}

}  // namespace

uint64_t StateLikeness::of(State state, size_t bytes) {
  if (known_.size() > kKnownMax) known_.clear();
  return compute(state, bytes);
}

uint64_t StateLikeness::compute(State state, size_t bytes) {
  const uint64_t key = uint64_t{state} << 8 | bytes;
  if (const auto known = known_.find(key); known != known_.end()) return known->second;
  uint64_t hash = mixed(bytes, automaton_.is_last(state) ? 1 : 2);
  if (bytes > 0) {
    State last = Automaton::kNone;  // classes beside each other often lead to one state
    uint64_t last_hash = 0;
    for (const State next : automaton_.next_by_class(state)) {
      if (next != last) last_hash = next == Automaton::kNone ? 0 : compute(next, bytes - 1);
      last = next;
      hash = mixed(hash, last_hash);
    }
    for (const Automaton::Call& call : automaton_.calls(state)) {
      hash = mixed(mixed(hash, call.rule), compute(call.to, bytes - 1));  // what is called reads a byte or more
    }
  }
  known_.emplace(key, hash);
  return hash;
}

}  // namespace bellwether::text::grammar
