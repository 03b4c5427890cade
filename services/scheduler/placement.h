// Which head gets a request: strategies by name, each a pure function of what a scheduler knows of the heads and of the
// request. docs/routing.md tells them apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bellwether::scheduler {

inline constexpr size_t kNoSlot = static_cast<size_t>(-1);

// One ready head of the model asked for. The text belongs to the table that made the view.
struct ReplicaView {
  std::string_view replica_id;
  uint64_t epoch = 0;
  size_t slot = kNoSlot;      // its number in the index of cached blocks
  uint64_t requests = 0;      // it is known to hold, reservations on their way to it included
  uint64_t requests_own = 0;  // of the reservations, those that this scheduler made
  uint64_t requests_max = 0;  // it takes; more is refused
  double kv_use = 0;          // of its KV cache, 0 to 1
  // What is reserved there, in tokens: prompts still to be read, without what is cached of them, and answers to be
  // written by all requests there.
  uint64_t prefill_tokens = 0;
  uint64_t decode_tokens = 0;
  uint64_t tenant_tokens = 0;  // of both, what belongs to the tenant of the request
  uint64_t cached_tokens = 0;  // of the request's prompt, in its cache now or very soon
  // What it can do, in tokens per second of work. 0 = not measured yet; strategies see none, see assume_rates().
  double prefill_tokens_per_s = 0;
  double decode_tokens_per_s = 0;
  bool open = false;  // its circuit is: it has failed, and is chosen by nobody until it has proved itself
  double ramp = 1;    // the part of its share that it may have: grows from above 0 to 1 after the replica's start
};

// The request, as far as it matters for where it goes.
struct PlacementRequest {
  uint64_t prompt_tokens = 0;
  uint64_t output_tokens = 0;        // expected, of all its choices
  std::string_view session_id = {};  // empty = none
  double tenant_share = 0;  // of all recent work, what its tenant's was divided by an equal share; 1 = just its share
};

// In which order a scheduler takes heads that are equally good. Schedulers that place at the same moment do not yet
// know of each other's last choices. If they resolved ties alike they would all choose the same head, so they go in
// pairs: one takes the heads in ascending order, its partner in descending order, and each pair starts elsewhere.
struct TieOrder {
  size_t rank = 0;        // of this scheduler among those known, by id
  size_t schedulers = 1;  // known, this one included

  // Where head `index` of `heads` stands in this scheduler's order; 0 is taken first.
  [[nodiscard]] size_t position(size_t index, size_t heads) const;
};

// All that a strategy sees.
struct PlacementView {
  std::span<const ReplicaView> heads;  // in the order of their ids
  std::span<const size_t> eligible;    // heads that may be chosen, ascending
  PlacementRequest request;
  TieOrder order;
  uint64_t random = 0;  // drawn for this placement
  uint64_t turn = 0;    // placements of this scheduler before this one
};

// The index in `heads` of the one chosen. REQUIRES: `eligible` is not empty.
using Strategy = size_t (*)(const PlacementView& view);

size_t place_random(const PlacementView& view);
size_t place_round_robin(const PlacementView& view);

// The head with the fewest requests; then the one with the lowest KV use, in whole tenths, because finer differences
// say nothing about the next second; then the one with the fewest reservations of this scheduler; then by `order`.
//
// For two schedulers that know each other and a burst on evenly loaded heads this is exact: whatever the delay of their
// Dispatch events, no head gets more than one request above any other. Each takes the heads in its own direction, round
// after round (the comparison of own reservations keeps it in step when the other's are seen in part), and the sum of
// an ascending and a descending round differs by one at most.
size_t place_least_request(const PlacementView& view);

// The lowest use of the KV cache; then the fewest requests.
size_t place_least_kv_cache(const PlacementView& view);

// The shortest time until the last token: the prompts before it and the request's own, without what is cached, at the
// head's rate of reading, and its answer at the head's rate of writing, shared with the requests there.
size_t place_least_latency(const PlacementView& view);

// The fewest tokens still to be computed for the time they take there, whatever the request is.
size_t place_throughput(const PlacementView& view);

// The one with fewer requests of two heads drawn at random.
size_t place_power_of_two(const PlacementView& view);

// The least work, in seconds, that the head will have with this request: what is reserved there and what the request
// adds, where a cached prefix adds nothing. Prompts are read at the head's rate of reading; of the answers there and
// the request's own, written at its rate of writing, kDecodeWeight counts, because they wait for no one and a prompt
// that is read is only slowed by them. Then least-request.
size_t place_prefix_cache(const PlacementView& view);
inline constexpr double kDecodeWeight = 0.5;
// What the request itself must have read counts twice: it waits for that, and so does all that comes after it.
inline constexpr double kOwnReadWeight = 2;

// Sessions keep to a head while it can be chosen, and spread when heads come and go as little as possible (rendezvous
// hashing). Requests without a session go by prefix_cache.
size_t place_session_affinity(const PlacementView& view);

// A tenant within its share goes by the least work. One above it is kept from heads where others have work: their work
// counts once more for each share that it is above its own, so it crowds its own heads first.
size_t place_fair(const PlacementView& view);

// The name that is given by nobody and by no setting.
inline constexpr std::string_view kStrategyDefault = "prefix-cache";

// By a name of this list or one that AIBrix has for it; nothing for an unknown name.
[[nodiscard]] std::optional<Strategy> find_strategy(std::string_view name);
[[nodiscard]] std::vector<std::string> strategy_names();  // without AIBrix' other names for them

// Gives heads that have not been measured the mean rates of those that have, or, when there is none, a guess that only
// says that reading is faster than writing.
void assume_rates(std::span<ReplicaView> heads);

// Heads that may be chosen: not full, of a closed circuit, not `excluded`, and of a replica that has just started no
// more than its part of what the others have on average (slow start), while there is any other.
[[nodiscard]] std::vector<size_t> eligible_heads(std::span<const ReplicaView> heads,
                                                 std::span<const std::string> excluded = {});

}  // namespace bellwether::scheduler
