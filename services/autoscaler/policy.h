// How many replicas there should be: a pure function of what is seen, what is wanted and what was decided before.
//
// The measure is KV-cache use. A replica whose cache is full can take nothing more, whatever its requests look like,
// and use grows with the length of the texts in work, which the number of requests does not show.
//
//   wanted = ceil(ready replicas heard lately * their mean use / target)
//
// Around it, in this order:
//  1. Requests that wait count. KV use alone cannot pass 1 and may stay low while requests wait for a place in the
//  batch,
//     so a replica that had requests waiting in every report since the last decision counts as used to at least 1.
//     While requests wait in the schedulers' queues all replicas do, and when there is none at all, one is wanted.
//  2. Silence is not idleness. A ready replica that is not heard is left out of the mean, and while there is one the
//     number is not lowered. When none is heard nothing is concluded.
//  3. Replicas that are loading serve nothing and are not in the mean, but they are replicas: `wanted` is a total, so
//  what
//     is already on its way is not started again.
//  4. Tolerance: within 1 +- tolerance of the replicas there are, nothing changes.
//  5. Windows: the number is raised only to what every recommendation of the scale-up window allowed, and lowered only
//  to
//     what every one of the scale-down window did. What was there when the first decision was made counts as the
//     recommendation before it, so an autoscaler that has just been started does not scale down at once.
//  6. Bounds: never below the minimum or above the maximum.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "mesh/clock.h"

namespace bellwether::autoscaler {

struct Policy {
  uint32_t replicas_min = 1;
  uint32_t replicas_max = 8;
  double kv_use_target = 0.5;  // > 0
  double tolerance = 0.1;
  std::chrono::milliseconds scale_up_window{0};
  std::chrono::milliseconds scale_down_window{300000};
};

// One ready replica that was heard lately.
struct HeadUse {
  double kv_use = 0;               // 0 to 1
  bool waited_throughout = false;  // requests waited in every report since the last observation
};

struct Observation {
  mesh::TimePoint at;
  std::vector<HeadUse> heads;
  uint32_t silent = 0;   // ready, but not heard lately
  uint32_t pending = 0;  // started, not ready
  uint32_t queued = 0;   // requests that wait for a replica with room, since the last observation at least

  [[nodiscard]] uint32_t ready() const { return static_cast<uint32_t>(heads.size()) + silent; }
  [[nodiscard]] uint32_t total() const { return ready() + pending; }
};

struct Decision {
  uint32_t desired = 0;
  uint32_t recommended = 0;           // before windows and bounds
  std::optional<double> kv_use_mean;  // over the replicas heard; nothing when there are none
  std::vector<std::string> reasons;   // in the order they applied, for a person
};

// What was decided before, as far back as the windows reach.
class History {
 public:
  // `window`: the longer of the policy's two.
  void record(const Observation& seen, const Decision& decision, std::chrono::milliseconds window);

  [[nodiscard]] std::optional<uint32_t> desired() const { return desired_; }

  // Of the recommendations made within `window` before `seen`, and `recommended` itself.
  struct Range {
    uint32_t lowest;
    uint32_t highest;
  };
  [[nodiscard]] Range range(const Observation& seen, std::chrono::milliseconds window, uint32_t recommended) const;

 private:
  struct Recommendation {
    mesh::TimePoint at;
    uint32_t replicas;
  };

  std::deque<Recommendation> recommendations_;  // oldest first
  std::optional<uint32_t> desired_;
};

[[nodiscard]] Decision decide(const Observation& seen, const Policy& policy, const History& history);

}  // namespace bellwether::autoscaler
