#include "api-gateway/model_directory.h"

#include <fmt/format.h>

#include <algorithm>

#include "mesh/log.h"

namespace bellwether::gateway {

namespace {

constexpr size_t kHeadsMax = 4096;
constexpr size_t kNamesMax = 4096;

bool is_gone(const v1::ReplicaState& state) {
  return state.phase() == v1::REPLICA_PHASE_FAILED || state.phase() == v1::REPLICA_PHASE_STOPPED;
}

std::string why_gone(const v1::ReplicaState& state) {
  if (state.phase() == v1::REPLICA_PHASE_STOPPED) return "it has stopped";
  return state.failure().empty() ? "it has failed" : fmt::format("it has failed: {}", state.failure());
}

}  // namespace

std::vector<GoneHead> ModelDirectory::observe(const v1::ReplicaState& state) {
  std::vector<GoneHead> gone;
  const auto known = heads_.find(state.replica_id());
  if (known != heads_.end()) {
    const v1::ReplicaState& before = known->second.state;
    if (state.epoch() < before.epoch()) return gone;
    if (state.epoch() == before.epoch() && state.sequence() < before.sequence()) return gone;
    if (state.epoch() > before.epoch()) {
      gone.push_back({{before.replica_id(), before.epoch()}, "it has been built anew"});
    }
  } else if (heads_.size() >= kHeadsMax) {
    mesh::log::warning("too many heads, one is left out",
                       {{"replica_id", state.replica_id()}, {"heads_max", kHeadsMax}});
    return gone;
  }
  if (names_.size() < kNamesMax && !state.model().empty()) names_.insert(state.model());
  if (is_gone(state)) {
    gone.push_back({{state.replica_id(), state.epoch()}, why_gone(state)});
    if (known != heads_.end()) heads_.erase(known);
    return gone;
  }
  if (state.phase() == v1::REPLICA_PHASE_READY && names_.contains(state.model())) {
    ModelStatus& last = last_known_[state.model()];
    last.name = state.model();
    last.card_digest = state.card_digest();
    last.context_tokens_max = state.capacity().context_tokens_max();
  }
  heads_.insert_or_assign(state.replica_id(), Entry{state, clock_()});
  return gone;
}

std::vector<GoneHead> ModelDirectory::sweep() {
  std::vector<GoneHead> gone;
  for (auto it = heads_.begin(); it != heads_.end();) {
    if (fresh(it->second)) {
      ++it;
      continue;
    }
    gone.push_back(
        {{it->first, it->second.state.epoch()}, fmt::format("nothing was heard of it for {} ms", kSilenceMax.count())});
    it = heads_.erase(it);
  }
  return gone;
}

void ModelDirectory::excuse_silence() {
  for (auto& [id, entry] : heads_) entry.heard = clock_();
}

bool ModelDirectory::expect(const Head& head) {
  const auto known = heads_.find(head.replica_id);
  if (known != heads_.end() && known->second.state.epoch() >= head.epoch) {
    return known->second.state.epoch() == head.epoch && fresh(known->second);
  }
  if (heads_.size() >= kHeadsMax) return false;
  Entry entry{{}, clock_()};
  entry.state.set_replica_id(head.replica_id);
  entry.state.set_epoch(head.epoch);
  heads_.insert_or_assign(head.replica_id, std::move(entry));
  return true;
}

bool ModelDirectory::serves(const Entry& entry) const {
  return entry.state.phase() == v1::REPLICA_PHASE_READY && fresh(entry);
}

bool ModelDirectory::serves_any() const {
  return std::any_of(heads_.begin(), heads_.end(), [this](const auto& head) { return serves(head.second); });
}

std::vector<ModelStatus> ModelDirectory::list() const {
  std::map<std::string_view, ModelStatus> models;
  std::map<std::pair<std::string_view, std::string_view>, size_t> heads_by_digest;
  for (const auto& [id, entry] : heads_) {
    const v1::ReplicaState& state = entry.state;
    if (!serves(entry)) continue;
    ModelStatus& model = models[state.model()];
    model.name = state.model();
    model.heads_ready += 1;
    const uint32_t context = state.capacity().context_tokens_max();
    if (context > 0 && (model.context_tokens_max == 0 || context < model.context_tokens_max)) {
      model.context_tokens_max = context;
    }
    if (model.since_unix_ms == 0 || state.started_unix_ms() < model.since_unix_ms) {
      model.since_unix_ms = state.started_unix_ms();
    }
    heads_by_digest[{state.model(), state.card_digest()}] += 1;
  }
  std::vector<ModelStatus> listed;
  for (auto& [name, model] : models) {
    size_t most = 0;
    for (const auto& [key, heads] : heads_by_digest) {
      if (key.first != name || heads <= most) continue;
      most = heads;
      model.card_digest = key.second;
    }
    listed.push_back(std::move(model));
  }
  return listed;
}

std::optional<ModelStatus> ModelDirectory::find(std::string_view model) const {
  std::vector<ModelStatus> models = list();
  const auto found =
      std::find_if(models.begin(), models.end(), [&](const ModelStatus& status) { return status.name == model; });
  if (found == models.end()) return std::nullopt;
  return std::move(*found);
}

std::optional<ModelStatus> ModelDirectory::last_known(std::string_view model) const {
  const auto found = last_known_.find(model);
  return found == last_known_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<Head> ModelDirectory::heads_of(std::string_view model) const {
  std::vector<Head> heads;
  for (const auto& [id, entry] : heads_) {
    if (entry.state.model() == model) heads.push_back({id, entry.state.epoch()});
  }
  return heads;
}

bool ModelDirectory::knows(std::string_view model) const {
  return names_.contains(model);
}

}  // namespace bellwether::gateway
