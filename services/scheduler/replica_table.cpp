#include "scheduler/replica_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace bellwether::scheduler {
namespace {

bool valid_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax;
}

bool leaving(v1::ReplicaPhase phase) {
  return phase == v1::REPLICA_PHASE_STOPPED || phase == v1::REPLICA_PHASE_FAILED;
}

bool staying(v1::ReplicaPhase phase) {
  return phase == v1::REPLICA_PHASE_LOADING || phase == v1::REPLICA_PHASE_READY || phase == v1::REPLICA_PHASE_DRAINING;
}

uint64_t reported_requests(const v1::ReplicaState& state) {
  return uint64_t{state.load().running()} + state.load().waiting();
}

// A rate may come from anywhere: what cannot be is not measured.
double sound_rate(double tokens_per_s) {
  return tokens_per_s > 0 && tokens_per_s < 1e12 ? tokens_per_s : 0;
}

constexpr double kRampMin = 0.1;
constexpr double kCacheFull = 0.95;  // hardly a prompt fits
constexpr uint64_t kAgeMsMax = 24 * 3600 * 1000;
constexpr uint64_t kTokensMax = uint64_t{1} << 32;  // of one reservation: sums cannot overflow

double kv_use(const v1::ReplicaState& state) {
  const uint32_t total = state.capacity().kv_blocks_total();
  return total == 0 ? 0 : std::min(1.0, static_cast<double>(state.load().kv_blocks_used()) / total);
}

}  // namespace

ReplicaTable::ReplicaTable(std::string scheduler_id, mesh::Clock clock)
    : scheduler_id_(std::move(scheduler_id)), clock_(std::move(clock)) {}

StateEffect ReplicaTable::apply(const v1::ReplicaState& state) {
  if (!valid_name(state.replica_id()) || !valid_name(state.model())) return StateEffect::kInvalid;
  if (!leaving(state.phase()) && !staying(state.phase())) return StateEffect::kInvalid;
  if (outdated(state)) return StateEffect::kOutdated;
  auto found = replicas_.find(state.replica_id());
  if (leaving(state.phase())) {
    const bool known = found != replicas_.end();
    if (!known) found = replicas_.try_emplace(state.replica_id()).first;
    found->second.state = state;
    depart(found);
    return known ? StateEffect::kLeft : StateEffect::kUpdated;
  }
  const bool joined = found == replicas_.end() || found->second.state.epoch() != state.epoch();
  if (found == replicas_.end()) {
    if (replicas_.size() >= kReplicasMax) return StateEffect::kTableFull;
    found = replicas_.try_emplace(state.replica_id()).first;
  } else if (joined) {
    found->second = Replica();
  }
  departed_.erase(state.replica_id());
  Replica& replica = found->second;
  replica.state = state;
  replica.heard_at = clock_();
  describe(replica, found->first);
  replica.own_since_state = 0;
  drop_lost(replica, replica.heard_at);
  return joined ? StateEffect::kJoined : StateEffect::kUpdated;
}

void ReplicaTable::describe(Replica& replica, std::string_view id) const {
  const v1::ReplicaState& state = replica.state;
  ReplicaView& view = replica.view;
  view.replica_id = id;
  view.epoch = state.epoch();
  const uint64_t waiting_max = std::min<uint64_t>(state.capacity().waiting_max(), head_waiting_max_);
  view.requests_max = uint64_t{state.capacity().sequences_max()} + waiting_max;
  view.kv_use = kv_use(state);
  view.prefill_tokens_per_s = sound_rate(state.rates().prefill_tokens_per_busy_s());
  view.decode_tokens_per_s = sound_rate(state.rates().decode_tokens_per_busy_s());
  // The head's clock may be another machine's; what it says of the future is now.
  const uint64_t now = mesh::unix_ms_now();
  const uint64_t age = state.ready_unix_ms() < now ? now - state.ready_unix_ms() : 0;
  replica.ready_at = replica.heard_at - std::chrono::milliseconds(std::min(age, kAgeMsMax));
}

double ReplicaTable::ramp(const Replica& replica, mesh::TimePoint now) const {
  if (replica.state.ready_unix_ms() == 0 || now - replica.ready_at >= slow_start_) return 1;
  return std::max(kRampMin, std::chrono::duration<double>(now - replica.ready_at) / slow_start_);
}

bool ReplicaTable::outdated(const v1::ReplicaState& state) const {
  const auto older = [&](uint64_t epoch, uint64_t sequence) {
    return std::pair(state.epoch(), state.sequence()) <= std::pair(epoch, sequence);
  };
  if (const auto found = replicas_.find(state.replica_id()); found != replicas_.end()) {
    return older(found->second.state.epoch(), found->second.state.sequence());
  }
  const auto departed = departed_.find(state.replica_id());
  return departed != departed_.end() && older(departed->second.epoch, departed->second.sequence);
}

bool ReplicaTable::apply(const v1::Dispatch& event, ReservedWork work) {
  if (!valid_name(event.request_id()) || !valid_name(event.replica_id())) return false;
  const RequestKey key{event.request_id(), event.attempt()};
  if (event.kind() == v1::Dispatch::FREE) return release(key, event.replica_id());
  const bool reserves = event.kind() == v1::Dispatch::RESERVE && event.scheduler_id() != scheduler_id_;
  if (!reserves && event.kind() != v1::Dispatch::PREFILL_DONE) return false;
  // A head not yet heard, or of another epoch, tells its load in its next heartbeat.
  const auto found = replicas_.find(event.replica_id());
  if (found == replicas_.end() || found->second.state.epoch() != event.epoch()) return false;
  if (!reserves) {
    finish_prefill(found->second, key);
  } else if (!frees_.contains(free_name(key, event.replica_id()))) {
    add(found->second, key, /*own=*/false, std::move(work));
  }
  return false;
}

void ReplicaTable::reserve(const RequestKey& key, std::string_view replica_id, ReservedWork work) {
  add(replicas_.find(replica_id)->second, key, /*own=*/true, std::move(work));
}

bool ReplicaTable::release(const RequestKey& key, std::string_view replica_id) {
  remember_free(key, replica_id);
  const auto found = replicas_.find(replica_id);
  return found != replicas_.end() && remove(found->second, key);
}

std::vector<ReplicaView> ReplicaTable::view(std::string_view model, std::string_view tenant) const {
  const mesh::TimePoint now = clock_();
  const std::string tenant_name(tenant);
  std::vector<ReplicaView> heads;
  heads.reserve(replicas_.size());
  for (const auto& [id, replica] : replicas_) {
    const v1::ReplicaState& state = replica.state;
    if (state.phase() != v1::REPLICA_PHASE_READY || state.model() != model || !alive(replica, now)) continue;
    const uint64_t reported = reported_requests(state);
    ReplicaView& head = heads.emplace_back(replica.view);
    head.requests = std::max(replica.reserved, reported + replica.own_since_state);
    const bool cache_full = head.kv_use >= kCacheFull && state.load().waiting() > 0;
    if (cache_full && state.load().waiting() >= head_waiting_max_)
      head.requests_max = std::min(head.requests_max, head.requests);
    head.requests_own = replica.own;
    head.prefill_tokens = replica.prefill_tokens;
    if (reported > replica.reserved) head.prefill_tokens = std::max(head.prefill_tokens, state.load().tokens_pending());
    head.decode_tokens = replica.decode_tokens;
    head.ramp = ramp(replica, now);
    if (tenant.empty()) continue;
    const auto of_tenant = replica.tenant_tokens.find(tenant_name);
    if (of_tenant != replica.tenant_tokens.end()) head.tenant_tokens = of_tenant->second;
  }
  return heads;
}

void ReplicaTable::set_slot(std::string_view replica_id, size_t slot) {
  if (const auto found = replicas_.find(replica_id); found != replicas_.end()) found->second.view.slot = slot;
}

void ReplicaTable::set_open(std::string_view replica_id, bool open) {
  if (const auto found = replicas_.find(replica_id); found != replicas_.end()) found->second.view.open = open;
}

std::vector<std::string> ReplicaTable::expire() {
  const mesh::TimePoint now = clock_();
  std::vector<std::string> gone;
  for (auto it = replicas_.begin(); it != replicas_.end();) {
    const auto current = it++;
    if (alive(current->second, now)) continue;
    gone.push_back(current->first);
    depart(current);
  }
  forget_old(now);
  return gone;
}

bool ReplicaTable::knows_model(std::string_view model) const {
  return std::any_of(replicas_.begin(), replicas_.end(),
                     [&](const auto& entry) { return entry.second.state.model() == model; });
}

bool ReplicaTable::is_loading(std::string_view model) const {
  return std::any_of(replicas_.begin(), replicas_.end(), [&](const auto& entry) {
    const v1::ReplicaState& state = entry.second.state;
    return state.phase() == v1::REPLICA_PHASE_LOADING && state.model() == model;
  });
}

size_t ReplicaTable::reservations() const {
  size_t count = 0;
  for (const auto& [id, replica] : replicas_) count += replica.reservations.size();
  return count;
}

void ReplicaTable::for_each(const std::function<void(const v1::ReplicaState&)>& visit) const {
  for (const auto& [id, replica] : replicas_) visit(replica.state);
}

bool ReplicaTable::alive(const Replica& replica, mesh::TimePoint now) const {
  return now - replica.heard_at <= kHeartbeatDeadline;
}

void ReplicaTable::add(Replica& replica, const RequestKey& key, bool own, ReservedWork work) {
  if (replica.by_key.contains(key) || replica.reservations.size() >= kReservationsPerReplicaMax) return;
  work.prefill_tokens = std::min(work.prefill_tokens, kTokensMax);
  work.decode_tokens = std::min(work.decode_tokens, kTokensMax);
  replica.reserved += work.sequences;
  replica.prefill_tokens += work.prefill_tokens;
  replica.decode_tokens += work.decode_tokens;
  if (own) {
    replica.own += work.sequences;
    replica.own_since_state += work.sequences;
  }
  if (!work.tenant.empty()) replica.tenant_tokens[work.tenant] += work.prefill_tokens + work.decode_tokens;
  replica.reservations.push_back({key, clock_(), replica.state.sequence(), own, false, std::move(work)});
  replica.by_key.emplace(key, std::prev(replica.reservations.end()));
}

bool ReplicaTable::remove(Replica& replica, const RequestKey& key) {
  finish_prefill(replica, key);
  const auto found = replica.by_key.find(key);
  if (found == replica.by_key.end()) return false;
  const Reservation& reservation = *found->second;
  const ReservedWork& work = reservation.work;
  replica.reserved -= work.sequences;
  replica.decode_tokens -= work.decode_tokens;
  take_tenant_tokens(replica, work.tenant, work.decode_tokens);
  if (reservation.own) {
    replica.own -= work.sequences;
    if (reservation.after_sequence == replica.state.sequence()) replica.own_since_state -= work.sequences;
  }
  replica.reservations.erase(found->second);
  replica.by_key.erase(found);
  return true;
}

void ReplicaTable::finish_prefill(Replica& replica, const RequestKey& key) {
  const auto found = replica.by_key.find(key);
  if (found == replica.by_key.end() || found->second->prefill_done) return;
  Reservation& reservation = *found->second;
  reservation.prefill_done = true;
  replica.prefill_tokens -= reservation.work.prefill_tokens;
  take_tenant_tokens(replica, reservation.work.tenant, reservation.work.prefill_tokens);
}

void ReplicaTable::take_tenant_tokens(Replica& replica, const std::string& tenant, uint64_t tokens) {
  const auto found = replica.tenant_tokens.find(tenant);
  if (found == replica.tenant_tokens.end()) return;
  found->second -= tokens;
  if (found->second == 0) replica.tenant_tokens.erase(found);
}

// Of n sequences reported, n may be of the oldest reservations; any other that has settled is over.
void ReplicaTable::drop_lost(Replica& replica, mesh::TimePoint now) {
  uint64_t settled = replica.reserved;
  for (auto it = replica.reservations.rbegin(); it != replica.reservations.rend(); ++it) {
    if (now - it->made_at >= kReservationSettles) break;
    settled -= it->work.sequences;
  }
  const uint64_t reported = reported_requests(replica.state);
  while (settled > reported && replica.reservations.front().work.sequences <= settled - reported) {
    settled -= replica.reservations.front().work.sequences;
    remove(replica, RequestKey(replica.reservations.front().key));
  }
}

void ReplicaTable::depart(Replicas::iterator replica) {
  if (departed_.size() >= kReplicasMax) departed_.erase(departed_.begin());
  const v1::ReplicaState& state = replica->second.state;
  departed_.insert_or_assign(replica->first, Departed{state.epoch(), state.sequence(), clock_()});
  replicas_.erase(replica);
}

// A request is offered to a head once an attempt, but to several heads: the head is part of the name.
std::string ReplicaTable::free_name(const RequestKey& key, std::string_view replica_id) {
  return fmt::format("{}/{}/{}", key.attempt, replica_id, key.request_id);
}

void ReplicaTable::remember_free(const RequestKey& key, std::string_view replica_id) {
  std::string name = free_name(key, replica_id);
  if (!frees_.insert(name).second) return;
  frees_by_age_.emplace_back(clock_(), std::move(name));
  if (frees_by_age_.size() > kFreesRememberedMax) {
    frees_.erase(frees_by_age_.front().second);
    frees_by_age_.pop_front();
  }
}

void ReplicaTable::forget_old(mesh::TimePoint now) {
  while (!frees_by_age_.empty() && now - frees_by_age_.front().first > kRemembered) {
    frees_.erase(frees_by_age_.front().second);
    frees_by_age_.pop_front();
  }
  std::erase_if(departed_, [&](const auto& entry) { return now - entry.second.at > kRemembered; });
}

}  // namespace bellwether::scheduler
