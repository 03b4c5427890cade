#include "api-gateway/access/key_limits.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace bellwether::gateway {
namespace {

// When one of the requests that run may have ended.
constexpr std::chrono::seconds kConcurrencyRetry{1};

void set_bucket(std::optional<TokenBucket>& bucket, int64_t per_minute, mesh::TimePoint now) {
  if (per_minute == 0) {
    bucket.reset();
  } else if (!bucket) {
    bucket.emplace(per_minute, now);
  } else if (bucket->per_minute() != per_minute) {
    bucket->set_per_minute(per_minute, now);
  }
}

LimitState state_of(const std::optional<TokenBucket>& bucket, mesh::TimePoint now) {
  if (!bucket) return {};
  const int64_t remaining = static_cast<int64_t>(std::floor(std::max(0.0, bucket->level(now))));
  return {.limit = bucket->per_minute(),
          .remaining = remaining,
          .reset = bucket->time_until(static_cast<double>(bucket->per_minute()), now)};
}

Denial denial_of(DenialReason reason, const TokenBucket& bucket, double wanted, mesh::TimePoint now) {
  return {.reason = reason,
          .limit = bucket.per_minute(),
          .used = static_cast<int64_t>(std::ceil(static_cast<double>(bucket.per_minute()) - bucket.level(now))),
          .retry_after = bucket.time_until(wanted, now)};
}

}  // namespace

void KeyLimits::set_keys(const std::vector<mesh::ApiKey>& keys, mesh::TimePoint now) {
  std::unordered_map<std::string, Key> kept;
  for (const mesh::ApiKey& each : keys) {
    const auto found = keys_.find(each.id);
    Key key = found == keys_.end() ? Key() : std::move(found->second);
    set_bucket(key.requests, each.requests_per_minute, now);
    set_bucket(key.tokens, each.tokens_per_minute, now);
    key.concurrency = each.concurrency;
    kept.emplace(each.id, std::move(key));
  }
  keys_ = std::move(kept);
  for (auto& [id, peer] : peers_) {
    std::erase_if(peer.uses, [&](const auto& use) { return !keys_.contains(use.first); });
  }
}

std::optional<Denial> KeyLimits::admit(const std::string& key_id, int64_t tokens, mesh::TimePoint now) {
  const auto found = keys_.find(key_id);
  if (found == keys_.end()) return std::nullopt;
  Key& key = found->second;
  const auto wanted = static_cast<double>(tokens);
  if (key.tokens && tokens > key.tokens->per_minute()) {
    return Denial{.reason = DenialReason::kTooManyTokens, .limit = key.tokens->per_minute(), .used = 0};
  }
  if (key.concurrency > 0) {
    const int64_t running_now = running(key_id, now);
    if (running_now >= key.concurrency) {
      return Denial{DenialReason::kConcurrency, key.concurrency, running_now, kConcurrencyRetry};
    }
  }
  if (key.requests && key.requests->level(now) < 1) return denial_of(DenialReason::kRequests, *key.requests, 1, now);
  if (key.tokens && key.tokens->level(now) < wanted) return denial_of(DenialReason::kTokens, *key.tokens, wanted, now);
  take(key, 1, wanted, now);
  ++key.own.requests;
  key.own.tokens += tokens;
  ++key.own.running;
  untold_.insert(key_id);
  return std::nullopt;
}

void KeyLimits::end(const std::string& key_id, int64_t reserved, int64_t used, mesh::TimePoint now) {
  const auto found = keys_.find(key_id);
  if (found == keys_.end()) return;
  Key& key = found->second;
  take(key, 0, static_cast<double>(used - reserved), now);
  key.own.tokens += used - reserved;
  key.own.running = std::max<int64_t>(0, key.own.running - 1);  // the key may have been away meanwhile
  untold_.insert(key_id);
}

void KeyLimits::take(Key& key, double requests, double tokens, mesh::TimePoint now) {
  if (key.requests) key.requests->take(requests, now);
  if (key.tokens) key.tokens->take(tokens, now);
}

KeyState KeyLimits::state(const std::string& key_id, mesh::TimePoint now) const {
  const auto found = keys_.find(key_id);
  if (found == keys_.end()) return {};
  return {.requests = state_of(found->second.requests, now), .tokens = state_of(found->second.tokens, now)};
}

int64_t KeyLimits::running(const std::string& key_id, mesh::TimePoint now) const {
  const auto found = keys_.find(key_id);
  int64_t total = found == keys_.end() ? 0 : found->second.own.running;
  for (const auto& [id, peer] : peers_) {
    if (now - peer.heard > kSilenceMax) continue;
    const auto use = peer.uses.find(key_id);
    if (use != peer.uses.end()) total += use->second.running;
  }
  return total;
}

void KeyLimits::tell(const std::string& id, Key& key, v1::KeyUses& uses) {
  v1::KeyUse& use = *uses.add_keys();
  use.set_key_id(id);
  use.set_requests_total(static_cast<uint64_t>(key.own.requests));
  use.set_tokens_total(key.own.tokens);
  use.set_requests(static_cast<uint64_t>(key.own.requests - key.told.requests));
  use.set_tokens(key.own.tokens - key.told.tokens);
  use.set_running(static_cast<uint32_t>(key.own.running));
  key.told = key.own;
}

std::optional<v1::KeyUses> KeyLimits::take_update(bool heartbeat) {
  v1::KeyUses uses;
  if (heartbeat) {
    for (auto& [id, key] : keys_) {
      if (key.own.running > 0 || untold_.contains(id)) tell(id, key, uses);
    }
  } else {
    for (const std::string& id : untold_) {
      if (const auto found = keys_.find(id); found != keys_.end()) tell(id, found->second, uses);
    }
  }
  untold_.clear();
  if (uses.keys().empty()) return std::nullopt;
  uses.set_gateway_id(gateway_id_);
  uses.set_number(++number_);
  return uses;
}

KeyLimits::Peer* KeyLimits::peer_of(const std::string& gateway_id, mesh::TimePoint now) {
  const auto found = peers_.find(gateway_id);
  if (found != peers_.end()) return &found->second;
  if (peers_.size() >= kGatewaysMax) sweep(now);
  return peers_.size() >= kGatewaysMax ? nullptr : &peers_[gateway_id];
}

void KeyLimits::apply(const v1::KeyUses& uses, mesh::TimePoint now) {
  if (uses.gateway_id() == gateway_id_) return;
  Peer* peer = peer_of(uses.gateway_id(), now);
  if (peer == nullptr || uses.number() <= peer->number) return;
  peer->number = uses.number();
  peer->heard = now;
  for (const v1::KeyUse& use : uses.keys()) {
    const auto found = keys_.find(use.key_id());
    if (found == keys_.end()) continue;
    const PeerUse total{.requests = static_cast<double>(use.requests_total()),
                        .tokens = static_cast<double>(use.tokens_total()),
                        .running = use.running()};
    const auto [known, is_new] = peer->uses.try_emplace(use.key_id());
    if (is_new) {
      known->second.requests = total.requests - static_cast<double>(use.requests());
      known->second.tokens = total.tokens - static_cast<double>(use.tokens());
    }
    take(found->second, total.requests - known->second.requests, total.tokens - known->second.tokens, now);
    known->second = total;
  }
}

v1::KeyLevels KeyLimits::levels(mesh::TimePoint now) const {
  v1::KeyLevels levels;
  for (const auto& [id, key] : keys_) {
    const double requests = key.requests ? key.requests->level(now) : 0;
    const double tokens = key.tokens ? key.tokens->level(now) : 0;
    const bool full = (!key.requests || requests >= static_cast<double>(key.requests->per_minute())) &&
                      (!key.tokens || tokens >= static_cast<double>(key.tokens->per_minute()));
    if (full) continue;
    v1::KeyLevel& level = *levels.add_keys();
    level.set_key_id(id);
    level.set_requests(requests);
    level.set_tokens(tokens);
  }
  return levels;
}

void KeyLimits::apply(const v1::KeyLevels& levels, mesh::TimePoint now) {
  for (const v1::KeyLevel& level : levels.keys()) {
    const auto found = keys_.find(level.key_id());
    if (found == keys_.end()) continue;
    Key& key = found->second;
    if (key.requests && std::isfinite(level.requests())) key.requests->lower_to(level.requests(), now);
    if (key.tokens && std::isfinite(level.tokens())) key.tokens->lower_to(level.tokens(), now);
  }
}

void KeyLimits::sweep(mesh::TimePoint now) {
  std::erase_if(peers_, [&](const auto& each) { return now - each.second.heard > kForgetAfter; });
}

}  // namespace bellwether::gateway
