// How much of its limits each API key has used, counted by all gateways of a mesh together, without a database.
//
// Every gateway has a bucket for each limit of each key. What it admits it takes from its own bucket at once, and tells
// the others (v1::KeyUses), who take it from theirs. Requests that run are counted the same way, for a key's
// concurrency; those of a gateway that has not been heard for kSilenceMax count no more.
//
// How exact that is: each gateway's bucket knows of all uses but those under way on the bus. So over any time of t
// minutes all gateways together admit at most limit * (1 + t), and in addition what the others admitted during one
// delay of the bus (milliseconds), which is at most what the buckets held then. A message that is lost is made good by
// the next one about its key. A gateway that starts asks another for its levels; when none answers, its buckets are
// full. While the bus is away each gateway limits what it admits itself; the rest is settled when the bus is back.
//
// A request reserves its prompt and the most that it may generate, and gives back what it did not use. What was
// generated beyond the reservation is owed: the bucket goes below 0.
//
// Pure logic: time comes in with each call, messages go out by take_update(). Memory is bounded by the keys and by
// kGatewaysMax.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "api-gateway/access/token_bucket.h"
#include "bellwether/v1/limits.pb.h"
#include "mesh/api_key.h"
#include "mesh/clock.h"

namespace bellwether::gateway {

// What a client is told about one limit of its key: OpenAI's x-ratelimit-* headers.
struct LimitState {
  int64_t limit = 0;  // a minute; 0 = none
  int64_t remaining = 0;
  std::chrono::nanoseconds reset{0};  // until it is full again
};

struct KeyState {
  LimitState requests;
  LimitState tokens;
};

enum class DenialReason { kRequests, kTokens, kConcurrency, kTooManyTokens };

struct Denial {
  DenialReason reason;
  int64_t limit = 0;                        // the one that is reached
  int64_t used = 0;                         // of it, now
  std::chrono::nanoseconds retry_after{0};  // 0 = retrying will not help
};

class KeyLimits {
 public:
  static constexpr std::chrono::milliseconds kHeartbeat{1000};
  static constexpr std::chrono::milliseconds kSilenceMax{3000};  // of a gateway whose running requests count
  static constexpr std::chrono::minutes kForgetAfter{10};        // a gateway's totals
  static constexpr size_t kGatewaysMax = 1024;

  explicit KeyLimits(std::string gateway_id) : gateway_id_(std::move(gateway_id)) {}

  // Makes these the keys there are. Those that were there before keep what they have used.
  void set_keys(const std::vector<mesh::ApiKey>& keys, mesh::TimePoint now);

  // Takes a request and so many tokens and counts it as running, or says why not and takes nothing. A key that has been
  // taken out of the file meanwhile has no limits.
  [[nodiscard]] std::optional<Denial> admit(const std::string& key_id, int64_t tokens, mesh::TimePoint now);

  // The end of a request that was admitted with `reserved` tokens and has used `used`. The key may be gone.
  void end(const std::string& key_id, int64_t reserved, int64_t used, mesh::TimePoint now);

  [[nodiscard]] KeyState state(const std::string& key_id, mesh::TimePoint now) const;
  [[nodiscard]] int64_t running(const std::string& key_id, mesh::TimePoint now) const;  // through all gateways

  // What other gateways do not know yet; nothing when there is nothing. `heartbeat`: also every key that has requests
  // running.
  [[nodiscard]] std::optional<v1::KeyUses> take_update(bool heartbeat);

  // What another gateway told. Its own messages, those of other keys and those out of order are ignored.
  void apply(const v1::KeyUses& uses, mesh::TimePoint now);

  [[nodiscard]] v1::KeyLevels levels(mesh::TimePoint now) const;
  void apply(const v1::KeyLevels& levels, mesh::TimePoint now);

  // Forgets gateways that are long silent.
  void sweep(mesh::TimePoint now);

  [[nodiscard]] bool empty() const { return keys_.empty(); }

 private:
  struct Use {
    int64_t requests = 0;
    int64_t tokens = 0;
    int64_t running = 0;
  };
  struct Key {
    std::optional<TokenBucket> requests = {};  // nothing = no limit
    std::optional<TokenBucket> tokens = {};
    int64_t concurrency = 0;
    Use own = {};   // since this gateway started
    Use told = {};  // of that
  };
  struct PeerUse {
    double requests = 0;
    double tokens = 0;
    int64_t running = 0;
  };
  struct Peer {
    uint64_t number = 0;  // of the last message
    mesh::TimePoint heard = {};
    std::unordered_map<std::string, PeerUse> uses = {};  // by key
  };

  static void tell(const std::string& id, Key& key, v1::KeyUses& uses);
  static void take(Key& key, double requests, double tokens, mesh::TimePoint now);
  Peer* peer_of(const std::string& gateway_id, mesh::TimePoint now);

  std::string gateway_id_;
  uint64_t number_ = 0;
  std::unordered_map<std::string, Key> keys_;  // by id
  std::unordered_set<std::string> untold_;     // keys whose use has changed since the last update
  std::map<std::string, Peer> peers_;          // by gateway
};

}  // namespace bellwether::gateway
