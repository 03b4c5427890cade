// What a head tells the mesh about itself, and when.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bellwether/v1/mesh.pb.h"
#include "mesh/clock.h"

namespace bellwether::worker {

// Who the replica is; fixed for the process, but for the epoch.
struct Identity {
  std::string replica_id = {};
  uint64_t epoch = 0;
  std::string model = {};
  std::string device = {};
  std::string host = {};
  std::string metrics_address = {};
  uint64_t started_unix_ms = 0;
};

// How it is; changes all the time.
struct Condition {
  v1::ReplicaPhase phase = v1::REPLICA_PHASE_LOADING;
  uint64_t ready_unix_ms = 0;  // since when it takes work; 0 = it does not
  double loading_progress = 0;
  std::string failure = {};
  std::string card_digest = {};
  v1::Capacity capacity = {};
  v1::Load load = {};
  uint64_t steps = 0;
  std::vector<v1::RankHealth> followers = {};  // rank 1 first
};

[[nodiscard]] v1::ReplicaState make_state(const Identity& identity, const Condition& condition, const v1::Rates& rates,
                                          uint64_t sequence);

// When the next state is to be announced: at once after a change that routing must know, soon after one of load, and
// every so often anyway, which is how others know that this head lives.
class Announcements {
 public:
  static constexpr std::chrono::milliseconds kHeartbeat{250};
  static constexpr std::chrono::milliseconds kChangeGap{20};  // between states that tell of changed load only

  void changed() { changed_ = true; }
  void changed_phase() { changed_phase_ = true; }

  void announced(mesh::TimePoint now);

  // In the past when it is overdue.
  [[nodiscard]] mesh::TimePoint due() const;

 private:
  std::optional<mesh::TimePoint> last_;
  bool changed_ = false;
  bool changed_phase_ = false;
};

}  // namespace bellwether::worker
