#include "worker/replica_state.h"

namespace bellwether::worker {

v1::ReplicaState make_state(const Identity& identity, const Condition& condition, const v1::Rates& rates,
                            uint64_t sequence) {
  v1::ReplicaState state;
  state.set_replica_id(identity.replica_id);
  state.set_epoch(identity.epoch);
  state.set_model(identity.model);
  state.set_card_digest(condition.card_digest);
  state.set_phase(condition.phase);
  state.set_loading_progress(static_cast<float>(condition.loading_progress));
  *state.mutable_capacity() = condition.capacity;
  *state.mutable_load() = condition.load;
  *state.mutable_rates() = rates;
  state.set_sequence(sequence);
  state.set_metrics_address(identity.metrics_address);
  state.set_failure(condition.failure);
  state.set_version(BELLWETHER_VERSION);
  state.set_started_unix_ms(identity.started_unix_ms);
  state.set_ready_unix_ms(condition.ready_unix_ms);
  v1::RankHealth& head = *state.add_ranks();
  head.set_rank(0);
  head.set_host(identity.host);
  head.set_device(identity.device);
  // Of several ranks it is the others that were lost.
  head.set_healthy(condition.phase != v1::REPLICA_PHASE_FAILED || !condition.followers.empty());
  head.set_steps(condition.steps);
  for (const v1::RankHealth& follower : condition.followers) *state.add_ranks() = follower;
  return state;
}

void Announcements::announced(mesh::TimePoint now) {
  last_ = now;
  changed_ = false;
  changed_phase_ = false;
}

mesh::TimePoint Announcements::due() const {
  if (!last_) return mesh::TimePoint::min();
  if (changed_phase_) return *last_;
  return *last_ + (changed_ ? kChangeGap : kHeartbeat);
}

}  // namespace bellwether::worker
