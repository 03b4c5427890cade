#include "autoscaler/replica_watch.h"

#include <algorithm>
#include <set>
#include <utility>

namespace bellwether::autoscaler {
namespace {

bool valid_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax;
}

bool leaving(v1::ReplicaPhase phase) {
  return phase == v1::REPLICA_PHASE_STOPPED || phase == v1::REPLICA_PHASE_FAILED;
}

}  // namespace

ReplicaWatch::ReplicaWatch(mesh::Clock clock) : clock_(std::move(clock)) {}

bool ReplicaWatch::apply(const v1::ReplicaState& state) {
  if (!valid_name(state.replica_id()) || !valid_name(state.model())) return false;
  auto found = heads_.find(state.replica_id());
  const bool joined = found == heads_.end();
  if (joined) {
    if (heads_.size() >= kReplicasMax) return false;
    found = heads_.try_emplace(state.replica_id()).first;
  }
  Head& head = found->second;
  const auto age = [](const v1::ReplicaState& of) { return std::pair(of.epoch(), of.sequence()); };
  if (!joined && age(state) <= age(head.state)) return false;
  const bool continued = !joined && head.state.phase() == state.phase() && head.state.epoch() == state.epoch();
  head.waiting_min = continued ? std::min(head.waiting_min, state.load().waiting()) : state.load().waiting();
  head.state = state;
  head.heard_at = clock_();
  return true;
}

std::vector<std::string> ReplicaWatch::forget_dead() {
  const mesh::TimePoint now = clock_();
  std::vector<std::string> dead;
  std::erase_if(heads_, [&](const auto& entry) {
    if (now - entry.second.heard_at <= kForgottenAfter) return false;
    if (!leaving(entry.second.state.phase())) dead.push_back(entry.first);
    return true;
  });
  return dead;
}

void ReplicaWatch::forget(std::string_view replica_id) {
  if (const auto found = heads_.find(replica_id); found != heads_.end()) heads_.erase(found);
}

void ReplicaWatch::excuse_silence() {
  const mesh::TimePoint now = clock_();
  for (auto& [id, head] : heads_) head.heard_at = now;
}

Observation ReplicaWatch::observe(std::string_view model) {
  Observation seen;
  seen.at = clock_();
  for (auto& [id, head] : heads_) {
    const v1::ReplicaState& state = head.state;
    if (state.model() != model) continue;
    if (state.phase() == v1::REPLICA_PHASE_LOADING) ++seen.pending;
    if (state.phase() != v1::REPLICA_PHASE_READY) continue;
    const uint32_t blocks = state.capacity().kv_blocks_total();
    // A head that does not say how large its cache is tells nothing about its use.
    if (seen.at - head.heard_at > kSilentAfter || blocks == 0) {
      ++seen.silent;
    } else {
      const double use = static_cast<double>(state.load().kv_blocks_used()) / blocks;
      seen.heads.push_back({.kv_use = std::min(1.0, use), .waited_throughout = head.waiting_min > 0});
    }
    head.waiting_min = state.load().waiting();
  }
  return seen;
}

std::vector<std::string> ReplicaWatch::members(std::string_view model) const {
  std::vector<std::string> ids;
  for (const auto& [id, head] : heads_) {
    const v1::ReplicaPhase phase = head.state.phase();
    const bool counts = phase == v1::REPLICA_PHASE_LOADING || phase == v1::REPLICA_PHASE_READY;
    if (counts && head.state.model() == model) ids.push_back(id);
  }
  return ids;
}

std::vector<std::string> ReplicaWatch::models() const {
  std::set<std::string> names;
  for (const auto& [id, head] : heads_) names.insert(head.state.model());
  return {names.begin(), names.end()};
}

}  // namespace bellwether::autoscaler
