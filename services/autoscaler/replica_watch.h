// What the heads of a mesh say about themselves, as the autoscaler needs it.
//
// Not thread-safe: it lives on a service's one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "autoscaler/policy.h"
#include "bellwether/v1/mesh.pb.h"
#include "mesh/clock.h"

namespace bellwether::autoscaler {

inline constexpr std::chrono::milliseconds kSilentAfter{1000};
// A head silent for so long is dead for all purposes.
inline constexpr std::chrono::seconds kForgottenAfter{30};
inline constexpr size_t kReplicasMax = 4096;
inline constexpr size_t kNameBytesMax = 256;

class ReplicaWatch {
 public:
  explicit ReplicaWatch(mesh::Clock clock);

  // A heartbeat. False when it was dropped: outdated, invalid, or too many heads.
  bool apply(const v1::ReplicaState& state);

  // Drops what has been silent for kForgottenAfter and returns the ids of those that had not said goodbye.
  std::vector<std::string> forget_dead();
  // The head is known to have ended.
  void forget(std::string_view replica_id);
  // It was the listener that could not hear: all silence starts now.
  void excuse_silence();

  // Of the heads of `model`. Starts the next interval for HeadUse::waited_throughout.
  [[nodiscard]] Observation observe(std::string_view model);
  // Heads of `model` that are loading or ready.
  [[nodiscard]] std::vector<std::string> members(std::string_view model) const;
  [[nodiscard]] std::vector<std::string> models() const;

 private:
  struct Head {
    v1::ReplicaState state;
    mesh::TimePoint heard_at;
    uint32_t waiting_min = 0;  // since the last observation
  };

  mesh::Clock clock_;
  std::map<std::string, Head, std::less<>> heads_;  // those that have left, too, until they are forgotten
};

}  // namespace bellwether::autoscaler
