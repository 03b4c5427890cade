#include "cli/replica_book.h"

#include <algorithm>
#include <tuple>

namespace bellwether::cli {

void ReplicaBook::hear(const v1::ReplicaState& state, mesh::TimePoint now) {
  const auto known = heard_.find(state.replica_id());
  if (known != heard_.end()) {
    const v1::ReplicaState& last = known->second.state;
    if (std::tuple(state.epoch(), state.sequence()) < std::tuple(last.epoch(), last.sequence())) return;
  }
  if (state.phase() == v1::REPLICA_PHASE_STOPPED) {
    if (known != heard_.end()) heard_.erase(known);
    return;
  }
  heard_.insert_or_assign(state.replica_id(), Heard{state, now});
}

void ReplicaBook::forget_silent(mesh::TimePoint now) {
  std::erase_if(heard_, [now](const auto& entry) { return now - entry.second.at > kSilenceMax; });
}

size_t ReplicaBook::ready() const {
  return static_cast<size_t>(std::count_if(heard_.begin(), heard_.end(), [](const auto& entry) {
    return entry.second.state.phase() == v1::REPLICA_PHASE_READY;
  }));
}

double ReplicaBook::loading_progress(size_t expected) const {
  if (expected == 0) return 1;
  double sum = 0;
  for (const auto& [id, heard] : heard_) {
    const bool ready = heard.state.phase() == v1::REPLICA_PHASE_READY;
    sum += ready ? 1.0 : std::clamp(static_cast<double>(heard.state.loading_progress()), 0.0, 1.0);
  }
  return std::min(1.0, sum / static_cast<double>(expected));
}

std::vector<v1::ReplicaState> ReplicaBook::states() const {
  std::vector<v1::ReplicaState> all;
  for (const auto& [id, heard] : heard_) all.push_back(heard.state);
  return all;
}

}  // namespace bellwether::cli
