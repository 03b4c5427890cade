#include "text/grammar/automaton.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include <boost/container_hash/hash.hpp>
#include <boost/unordered/unordered_flat_map.hpp>

#include "text/grammar/grammar_error.h"
#include "text/grammar/recursion.h"

namespace bellwether::text::grammar {
namespace {

using States = std::vector<State>;

struct Backward {
  State from;
  Nfa::Kind kind;
  Rule rule;
};

// For each state, whether its rule's last state can be reached: by any way, or, with `by_nothing`, by one that reads
// nothing. Linear: from the last states back; a call waits until its rule's first state is found.
std::vector<bool> reaches_last(const Nfa& nfa, bool by_nothing) {
  std::vector<std::vector<Backward>> backward(nfa.state_count());
  for (State from = 0; from < nfa.state_count(); ++from) {
    for (const Nfa::Edge& edge : nfa.edges(from)) {
      if (edge.kind != Nfa::Kind::kBytes || !by_nothing) backward[edge.to].push_back({from, edge.kind, edge.rule});
    }
  }
  std::vector<bool> reaches(nfa.state_count());
  States found;
  const auto mark = [&](State state) {
    if (reaches[state]) return;
    reaches[state] = true;
    found.push_back(state);
  };
  boost::unordered_flat_map<State, States> callers;  // who waits for a rule's first state
  for (Rule rule = 0; rule < nfa.rule_count(); ++rule) mark(nfa.last_of(rule));
  while (!found.empty()) {
    const State state = found.back();
    found.pop_back();
    if (const auto waiting = callers.find(state); waiting != callers.end()) {
      for (const State caller : waiting->second) mark(caller);
    }
    for (const Backward& edge : backward[state]) {
      if (edge.kind == Nfa::Kind::kCall && !reaches[nfa.first_of(edge.rule)]) {
        callers[nfa.first_of(edge.rule)].push_back(edge.from);
      } else {
        mark(edge.from);
      }
    }
  }
  return reaches;
}

}  // namespace

// The subset construction, rule by rule, where a call counts as one more symbol.
class Automaton::Builder {
 public:
  Builder(const Nfa& nfa, Automaton& out)
      : nfa_(nfa),
        out_(out),
        is_alive_(reaches_last(nfa, false)),
        is_empty_(reaches_last(nfa, true)),
        groups_(groups_of_rules(nfa)),
        is_last_(nfa.state_count()),
        seen_(nfa.state_count()) {
    for (Rule rule = 0; rule < nfa.rule_count(); ++rule) is_last_[nfa.last_of(rule)] = true;
  }

  void build() {
    if (!is_alive_[nfa_.first_of(0)]) throw GrammarError("", "no text can satisfy it");
    make_classes();
    out_.firsts_.assign(nfa_.rule_count(), kNone);
    begin_rule(0);
    while (!rules_wanted_.empty()) {
      rule_ = rules_wanted_.back();
      rules_wanted_.pop_back();
      build_rule();
    }
    finish_calls();
  }

 private:
  void make_classes() {
    std::array<bool, 257> begins{};
    for (State state = 0; state < nfa_.state_count(); ++state) {
      for (const Nfa::Edge& edge : nfa_.edges(state)) {
        if (edge.kind == Nfa::Kind::kBytes) begins[edge.first] = begins[edge.last + size_t{1}] = true;
      }
    }
    size_t current = 0;
    for (size_t byte = 0; byte < 256; ++byte) {
      if (begins[byte] && byte > 0) ++current;
      out_.class_of_[byte] = static_cast<uint8_t>(current);
    }
    out_.classes_ = current + 1;
  }

  void begin_rule(Rule rule) {
    if (out_.firsts_[rule] != kNone) return;
    out_.firsts_[rule] = add_state(rule);
    rules_wanted_.push_back(rule);
  }

  State add_state(Rule rule) {
    const size_t bytes = (out_.next_.size() + out_.classes_) * sizeof(State);
    if (bytes > nfa_.limits().table_bytes_max) {
      throw GrammarError(
          "", fmt::format("is too large: its automaton needs more than {} MiB", nfa_.limits().table_bytes_max >> 20));
    }
    out_.next_.resize(out_.next_.size() + out_.classes_, kNone);
    out_.flags_.push_back(0);
    out_.rules_.push_back(rule);
    calls_.emplace_back();
    return static_cast<State>(out_.flags_.size() - 1);
  }

  void build_rule() {
    ids_.clear();
    const State first = out_.firsts_[rule_];
    States closed = close({nfa_.first_of(rule_)});
    ids_.emplace(closed, first);
    wanted_.emplace_back(first, std::move(closed));
    while (!wanted_.empty()) {
      const auto [id, states] = std::move(wanted_.back());
      wanted_.pop_back();
      expand(id, states);
    }
  }

  void expand(State id, const States& states) {
    std::vector<Nfa::Edge> reads;
    std::map<Rule, States> calls;
    for (const State state : states) {
      if (is_last_[state]) out_.flags_[id] |= kIsLast;
      nfa_.budget().spend_work(1 + nfa_.edges(state).size());
      for (const Nfa::Edge& edge : nfa_.edges(state)) {
        if (!is_alive_[edge.to]) continue;
        if (edge.kind == Nfa::Kind::kBytes) reads.push_back(edge);
        if (is_real_call(edge)) calls[edge.rule].push_back(edge.to);
      }
    }
    if (!reads.empty()) out_.flags_[id] |= kReadsBytes;
    expand_bytes(id, reads);
    for (auto& [rule, targets] : calls) {
      begin_rule(rule);
      const State to = id_of(close(std::move(targets)));
      out_.flags_[id] |= kCalls;
      calls_[id].push_back({rule, to});
    }
  }

  void expand_bytes(State id, const std::vector<Nfa::Edge>& reads) {
    if (reads.empty()) return;
    std::array<bool, 257> begins{};
    for (const Nfa::Edge& edge : reads) begins[edge.first] = begins[edge.last + size_t{1}] = true;
    for (size_t byte = 0; byte < 256;) {
      size_t end = byte + 1;
      while (end < 256 && !begins[end]) ++end;
      States targets;
      nfa_.budget().spend_work(reads.size());
      for (const Nfa::Edge& edge : reads) {
        if (edge.first <= byte && byte <= edge.last) targets.push_back(edge.to);
      }
      if (!targets.empty()) {
        const State to = id_of(close(std::move(targets)));
        State* const row = out_.next_.data() + size_t{id} * out_.classes_;
        std::fill(row + out_.class_of_[byte], row + out_.class_of_[end - 1] + 1, to);
      }
      byte = end;
    }
  }

  State id_of(States states) {
    const auto [entry, is_new] = ids_.try_emplace(std::move(states), kNone);
    if (is_new) {
      entry->second = add_state(rule_);
      wanted_.emplace_back(entry->second, entry->first);
    }
    return entry->second;
  }

  // A call of a rule that matches something, and that is no jump (see Automaton).
  [[nodiscard]] bool is_real_call(const Nfa::Edge& edge) const {
    return edge.kind == Nfa::Kind::kCall && is_alive_[nfa_.first_of(edge.rule)] && !is_jump(edge);
  }
  [[nodiscard]] bool is_jump(const Nfa::Edge& edge) const {
    return edge.kind == Nfa::Kind::kCall && groups_[edge.rule] == groups_[rule_] && leads_to_last_only(edge.to);
  }
  [[nodiscard]] bool leads_to_last_only(State state) const {
    for (int steps = 0; steps < 8 && !is_last_[state]; ++steps) {
      const auto& edges = nfa_.edges(state);
      if (edges.size() != 1 || edges[0].kind != Nfa::Kind::kEmpty) return false;
      state = edges[0].to;
    }
    return is_last_[state];
  }

  // With what can be reached by reading nothing; sorted; of the states, those with an edge that reads and last ones.
  States close(States wanted) {
    States closed;
    States touched;
    const auto see = [&](State state) {
      if (seen_[state] || !is_alive_[state]) return;
      seen_[state] = true;
      touched.push_back(state);
      wanted.push_back(state);
    };
    for (const State state : std::exchange(wanted, {})) see(state);
    while (!wanted.empty()) {
      const State state = wanted.back();
      wanted.pop_back();
      nfa_.budget().spend_work(1 + nfa_.edges(state).size());
      bool reads = is_last_[state];
      for (const Nfa::Edge& edge : nfa_.edges(state)) {
        if (is_jump(edge)) see(nfa_.first_of(edge.rule));
        const bool by_nothing =
            edge.kind == Nfa::Kind::kEmpty || (edge.kind == Nfa::Kind::kCall && is_empty_[nfa_.first_of(edge.rule)]);
        if (by_nothing) see(edge.to);
        reads = reads || edge.kind != Nfa::Kind::kEmpty;
      }
      if (reads) closed.push_back(state);
    }
    for (const State state : touched) seen_[state] = false;
    std::sort(closed.begin(), closed.end());
    return closed;
  }

  void finish_calls() {
    for (const std::vector<Call>& calls : calls_) {
      out_.calls_.insert(out_.calls_.end(), calls.begin(), calls.end());
      out_.calls_begin_.push_back(out_.calls_.size());
    }
  }

  const Nfa& nfa_;
  Automaton& out_;
  const std::vector<bool> is_alive_;
  const std::vector<bool> is_empty_;    // the rest of the rule may be nothing
  const std::vector<uint32_t> groups_;  // by rule
  std::vector<bool> is_last_;           // of any rule
  std::vector<bool> seen_;              // close()'s own; false between calls
  std::vector<std::vector<Call>> calls_;
  std::vector<Rule> rules_wanted_;
  Rule rule_ = 0;
  boost::unordered_flat_map<States, State, boost::hash<States>> ids_;  // of the rule
  std::vector<std::pair<State, States>> wanted_;
};

namespace {

using Bytes = std::bitset<256>;
using Inheritance = std::vector<std::vector<Rule>>;  // by rule, those whose set has all of its set

void inherit(std::vector<Bytes>& sets, const Inheritance& heirs) {
  std::vector<Rule> changed(sets.size());
  for (Rule rule = 0; rule < sets.size(); ++rule) changed[rule] = rule;
  while (!changed.empty()) {
    const Rule rule = changed.back();
    changed.pop_back();
    for (const Rule heir : heirs[rule]) {
      const Bytes bytes = sets[heir] | sets[rule];
      if (bytes == sets[heir]) continue;
      sets[heir] = bytes;
      changed.push_back(heir);
    }
  }
}

}  // namespace

Automaton::Automaton(const Nfa& nfa) : limits_(nfa.limits()) {
  Builder(nfa, *this).build();
  find_follows();
}

// A byte can follow a rule when it can be read where the rule was called from, or by a rule that is called there; and
// whatever can follow the caller, if the caller may end there.
void Automaton::find_follows() {
  std::vector<Bytes> bytes_of_class(classes_);
  for (size_t byte = 0; byte < 256; ++byte) bytes_of_class[class_of_[byte]][byte] = true;
  const auto read_by = [&](State state) {
    Bytes bytes;
    const auto next = next_by_class(state);
    for (size_t i = 0; i < classes_; ++i) {
      if (next[i] != kNone) bytes |= bytes_of_class[i];
    }
    return bytes;
  };
  std::vector<Bytes> begins(rule_count());  // bytes that can come first in a rule
  Inheritance of_begins(rule_count());
  for (Rule rule = 0; rule < rule_count(); ++rule) {
    if (firsts_[rule] == kNone) continue;
    begins[rule] = read_by(firsts_[rule]);
    for (const Call& call : calls(firsts_[rule])) of_begins[call.rule].push_back(rule);
  }
  inherit(begins, of_begins);
  follows_.resize(rule_count());
  Inheritance of_follows(rule_count());
  for (State state = 0; state < state_count(); ++state) {
    for (const Call& call : calls(state)) {
      follows_[call.rule] |= read_by(call.to);
      for (const Call& next : calls(call.to)) follows_[call.rule] |= begins[next.rule];
      if (is_last(call.to)) of_follows[rules_[state]].push_back(call.rule);
    }
  }
  inherit(follows_, of_follows);
}

std::optional<Automaton> automaton_unless_empty(const Nfa& nfa) {
  if (!reaches_last(nfa, false)[nfa.first_of(0)]) return std::nullopt;
  return Automaton(nfa);
}

namespace {

// The first bytes of runs that are alike in both, and 256.
std::vector<size_t> runs_of_bytes(const Automaton& first, const Automaton& second) {
  std::vector<size_t> begins = {0};
  for (size_t byte = 1; byte < 256; ++byte) {
    const auto value = static_cast<uint8_t>(byte);
    const auto before = static_cast<uint8_t>(byte - 1);
    const bool alike =
        first.class_of(value) == first.class_of(before) && second.class_of(value) == second.class_of(before);
    if (!alike) begins.push_back(byte);
  }
  begins.push_back(256);
  return begins;
}

}  // namespace

State append_combination(Nfa& nfa, State from, const Automaton& first, const Automaton& second,
                         Combination combination) {
  using Pair = std::pair<State, State>;
  const State end = nfa.add_state();
  boost::unordered_flat_map<Pair, State, boost::hash<Pair>> ids;
  std::vector<std::pair<Pair, State>> wanted;
  const auto id_of = [&](const Pair& pair) {
    const auto [entry, is_new] = ids.try_emplace(pair, 0);
    if (is_new) {
      entry->second = nfa.add_state();
      wanted.emplace_back(pair, entry->second);
    }
    return entry->second;
  };
  nfa.add_empty(from, id_of({first.first_of(0), second.first_of(0)}));
  const std::vector<size_t> runs = runs_of_bytes(first, second);
  while (!wanted.empty()) {
    const auto [pair, id] = wanted.back();
    wanted.pop_back();
    const bool in_second = pair.second != Automaton::kNone && second.is_last(pair.second);
    if (first.is_last(pair.first) && in_second == (combination == Combination::kBoth)) nfa.add_empty(id, end);
    nfa.budget().spend_work(runs.size());
    for (size_t i = 0; i + 1 < runs.size(); ++i) {
      const auto byte = static_cast<uint8_t>(runs[i]);
      const State to = first.next(pair.first, byte);
      const State second_to = pair.second == Automaton::kNone ? Automaton::kNone : second.next(pair.second, byte);
      if (to == Automaton::kNone || (combination == Combination::kBoth && second_to == Automaton::kNone)) continue;
      nfa.add_bytes(id, byte, static_cast<uint8_t>(runs[i + 1] - 1), id_of({to, second_to}));
    }
  }
  return end;
}

}  // namespace bellwether::text::grammar
