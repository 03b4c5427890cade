// The heads that can be reached and the requests reserved on them, as one scheduler knows them.
//
// Heads are known by their heartbeats alone: a head that has not been heard for kHeartbeatDeadline, or that says it has
// stopped or failed, is gone, and its reservations with it. A reservation is made in one step with the choice of the
// head and ends with the Dispatch{FREE} of the head, or of the scheduler when the head refused; its prompt counts until
// Dispatch{PREFILL_DONE}. Dispatch events of others may come twice and in any order. Where events are lost the heads'
// own reports are the truth; see ReplicaTable::apply.
//
// Not thread-safe: it lives on a service's one thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "bellwether/v1/mesh.pb.h"
#include "mesh/clock.h"
#include "scheduler/placement.h"

namespace bellwether::scheduler {

inline constexpr std::chrono::milliseconds kHeartbeatDeadline{1000};
// A request reserved longer ago than this has reached its head: it is in the head's report, or it is over.
inline constexpr std::chrono::milliseconds kReservationSettles{1000};
// How long a head that left and a freed request are remembered, against messages that overtake each other.
inline constexpr std::chrono::seconds kRemembered{10};
inline constexpr size_t kReplicasMax = 4096;
inline constexpr size_t kReservationsPerReplicaMax = 65536;
inline constexpr size_t kFreesRememberedMax = 65536;
inline constexpr size_t kNameBytesMax = 256;  // of ids and model names

// One attempt of one request.
struct RequestKey {
  std::string request_id;
  uint32_t attempt = 1;

  bool operator==(const RequestKey&) const = default;
};

struct RequestKeyHash {
  size_t operator()(const RequestKey& key) const { return std::hash<std::string>()(key.request_id) + key.attempt; }
};

// What a reservation takes of a head.
struct ReservedWork {
  uint64_t sequences = 1;       // its choices
  uint64_t prefill_tokens = 0;  // of the prompt, without what is cached
  uint64_t decode_tokens = 0;   // expected, of all choices
  std::string tenant = {};      // empty = nobody's in particular
};

// What a heartbeat changed.
enum class StateEffect {
  kJoined,  // a head not known before, or a new epoch of a known one
  kUpdated,
  kLeft,       // it stopped or failed
  kOutdated,   // dropped: of an older epoch, or not newer than the last
  kInvalid,    // dropped: an id, name or phase that cannot be
  kTableFull,  // dropped: kReplicasMax heads are known
};

class ReplicaTable {
 public:
  // `scheduler_id` is this scheduler's: Dispatch events that carry it were applied when they were made.
  ReplicaTable(std::string scheduler_id, mesh::Clock clock);

  // A heartbeat. Reservations that have settled and go beyond what the head reports are dropped, oldest first: their
  // FREE was lost.
  StateEffect apply(const v1::ReplicaState& state);

  // An event of another scheduler or of a head; `work` counts with RESERVE. True when it ended a reservation.
  bool apply(const v1::Dispatch& event, ReservedWork work = {});

  // This scheduler's own reservations. reserve() REQUIRES: `replica_id` is in view() now. release() is true when the
  // reservation was held.
  void reserve(const RequestKey& key, std::string_view replica_id, ReservedWork work = {});
  bool release(const RequestKey& key, std::string_view replica_id);

  // The ready heads of `model`, in the order of their ids, without what depends on a request's prompt. Valid until the
  // table changes. tenant_tokens are those of `tenant`; empty = not needed.
  //
  // A head holds at least what is reserved on it, and at least what it reported plus what this scheduler has reserved
  // since: the first knows of requests on their way, the second of requests placed before this scheduler started. As
  // long as it reports more sequences than are reserved, its own count of tokens to read is believed, too.
  [[nodiscard]] std::vector<ReplicaView> view(std::string_view model, std::string_view tenant = {}) const;

  // What others know of a head, for the views. Nothing happens when it has left. It begins closed and without a slot.
  void set_slot(std::string_view replica_id, size_t slot);
  void set_open(std::string_view replica_id, bool open);  // the circuit: an open one takes no requests

  // For how long a replica that has just begun to take work gets less than its share; 0 = it gets all at once.
  void set_slow_start(std::chrono::milliseconds time) { slow_start_ = time; }

  // Requests that a head is given beyond those that it can run at once, where it takes so many: it counts as full with
  // them. So it does when its cache is full and as many wait for room there.
  void set_head_waiting_max(uint64_t requests) { head_waiting_max_ = requests; }

  // Removes the heads not heard in time and returns their ids.
  std::vector<std::string> expire();

  [[nodiscard]] bool knows_model(std::string_view model) const;
  [[nodiscard]] bool is_loading(std::string_view model) const;  // a replica that will take work later
  [[nodiscard]] size_t reservations() const;
  void for_each(const std::function<void(const v1::ReplicaState&)>& visit) const;

 private:
  struct Reservation {
    RequestKey key;
    mesh::TimePoint made_at;
    uint64_t after_sequence;  // of the head's state when it was made
    bool own;
    bool prefill_done;
    ReservedWork work;
  };
  struct Replica {
    v1::ReplicaState state;
    ReplicaView view;  // what follows from the state alone
    mesh::TimePoint heard_at;
    mesh::TimePoint ready_at;             // began to take work
    std::list<Reservation> reservations;  // oldest first
    std::unordered_map<RequestKey, std::list<Reservation>::iterator, RequestKeyHash> by_key;
    // Sequences and tokens of the reservations.
    uint64_t reserved = 0;
    uint64_t own = 0;
    uint64_t own_since_state = 0;
    uint64_t prefill_tokens = 0;
    uint64_t decode_tokens = 0;
    std::unordered_map<std::string, uint64_t> tenant_tokens;
  };
  struct Departed {
    uint64_t epoch;
    uint64_t sequence;
    mesh::TimePoint at;
  };
  using Replicas = std::map<std::string, Replica, std::less<>>;

  [[nodiscard]] bool alive(const Replica& replica, mesh::TimePoint now) const;
  [[nodiscard]] bool outdated(const v1::ReplicaState& state) const;
  [[nodiscard]] double ramp(const Replica& replica, mesh::TimePoint now) const;
  void describe(Replica& replica, std::string_view id) const;
  void add(Replica& replica, const RequestKey& key, bool own, ReservedWork work);
  static bool remove(Replica& replica, const RequestKey& key);
  static void finish_prefill(Replica& replica, const RequestKey& key);
  static void take_tenant_tokens(Replica& replica, const std::string& tenant, uint64_t tokens);
  static void drop_lost(Replica& replica, mesh::TimePoint now);
  void depart(Replicas::iterator replica);
  void remember_free(const RequestKey& key, std::string_view replica_id);
  [[nodiscard]] static std::string free_name(const RequestKey& key, std::string_view replica_id);
  void forget_old(mesh::TimePoint now);

  std::string scheduler_id_;
  mesh::Clock clock_;
  std::chrono::milliseconds slow_start_{0};
  uint64_t head_waiting_max_ = UINT64_MAX;
  Replicas replicas_;
  std::map<std::string, Departed, std::less<>> departed_;
  std::unordered_set<std::string> frees_;
  std::deque<std::pair<mesh::TimePoint, std::string>> frees_by_age_;
};

}  // namespace bellwether::scheduler
