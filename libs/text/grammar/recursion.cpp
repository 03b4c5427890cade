#include "text/grammar/recursion.h"

#include <algorithm>

namespace bellwether::text::grammar {
namespace {

constexpr uint32_t kNone = UINT32_MAX;

class StrongGroups {
 public:
  explicit StrongGroups(const std::vector<std::vector<uint32_t>>& calls)
      : calls_(calls), order_(calls.size(), kNone), lowest_(calls.size()), groups_(calls.size(), kNone) {}

  std::vector<uint32_t> find() && {
    for (uint32_t node = 0; node < calls_.size(); ++node) {
      if (order_[node] == kNone) visit(node);
    }
    return std::move(groups_);
  }

 private:
  struct Visit {
    uint32_t node;
    size_t next = 0;  // of its calls
  };

  void begin(uint32_t node) {
    order_[node] = lowest_[node] = visited_++;
    open_.push_back(node);
    visits_.push_back({node});
  }

  void visit(uint32_t root) {
    begin(root);
    while (!visits_.empty()) {
      const uint32_t node = visits_.back().node;
      if (visits_.back().next == calls_[node].size()) {
        visits_.pop_back();
        if (!visits_.empty()) lower(visits_.back().node, lowest_[node]);
        if (lowest_[node] == order_[node]) close(node);
        continue;
      }
      const uint32_t called = calls_[node][visits_.back().next++];
      if (order_[called] == kNone) {
        begin(called);
      } else if (groups_[called] == kNone) {
        lower(node, order_[called]);
      }
    }
  }

  void lower(uint32_t node, uint32_t order) { lowest_[node] = std::min(lowest_[node], order); }

  void close(uint32_t node) {
    uint32_t last = kNone;
    while (last != node) {
      last = open_.back();
      open_.pop_back();
      groups_[last] = group_count_;
    }
    ++group_count_;
  }

  const std::vector<std::vector<uint32_t>>& calls_;
  std::vector<uint32_t> order_;   // in which they were visited
  std::vector<uint32_t> lowest_;  // of those that can be reached and have no group yet
  std::vector<uint32_t> groups_;
  std::vector<uint32_t> open_;  // visited, without a group
  std::vector<Visit> visits_;
  uint32_t visited_ = 0;
  uint32_t group_count_ = 0;
};

std::vector<uint32_t> calls_of(const Nfa& nfa, Rule rule, std::vector<bool>& seen) {
  std::vector<uint32_t> calls;
  std::vector<State> wanted = {nfa.first_of(rule)};
  seen[wanted[0]] = true;
  while (!wanted.empty()) {
    const State state = wanted.back();
    wanted.pop_back();
    for (const Nfa::Edge& edge : nfa.edges(state)) {
      if (edge.kind == Nfa::Kind::kCall) calls.push_back(edge.rule);
      if (!seen[edge.to]) wanted.push_back(edge.to);
      seen[edge.to] = true;
    }
  }
  return calls;
}

}  // namespace

std::vector<uint32_t> strong_groups(const std::vector<std::vector<uint32_t>>& calls) {
  return StrongGroups(calls).find();
}

std::vector<uint32_t> groups_of_rules(const Nfa& nfa) {
  std::vector<bool> seen(nfa.state_count());  // rules share no states
  std::vector<std::vector<uint32_t>> calls;
  for (Rule rule = 0; rule < nfa.rule_count(); ++rule) calls.push_back(calls_of(nfa, rule, seen));
  return strong_groups(calls);
}

}  // namespace bellwether::text::grammar
