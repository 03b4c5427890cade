// What the schedulers of a mesh say about requests that wait for a replica with room.
//
// Not thread-safe: it lives on a service's one thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "bellwether/v1/mesh.pb.h"
#include "mesh/clock.h"

namespace bellwether::autoscaler {

class QueueWatch {
 public:
  // Schedulers tell of a queue every 250 ms while there is one; who is silent for longer has none, or is gone.
  static constexpr std::chrono::milliseconds kForgottenAfter{1000};
  static constexpr size_t kQueuesMax = 4096;

  explicit QueueWatch(mesh::Clock clock) : clock_(std::move(clock)) {}

  // False when it was dropped: invalid, or too many queues.
  bool apply(const v1::QueueState& state);

  // Requests for `model` that wait, in all queues: in each the fewest of all its reports since the last observation.
  // Starts the next interval.
  [[nodiscard]] uint32_t observe(std::string_view model);

 private:
  struct Queue {
    uint32_t waiting = 0;
    uint32_t waiting_min = 0;  // since the last observation
    mesh::TimePoint heard_at;
  };

  mesh::Clock clock_;
  std::map<std::pair<std::string, std::string>, Queue> queues_;  // by model and scheduler
};

}  // namespace bellwether::autoscaler
