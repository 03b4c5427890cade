// How a rank reaches the others of its group: the seam between the worker, which brings addresses together, and the
// transport that computes over them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/ranks/collective.h"

namespace bellwether::worker {

// A group to be part of, as the head describes it.
struct GroupPlace {
  uint64_t epoch = 0;
  int rank = 0;
  std::vector<std::string> addresses = {};      // of all ranks, in order
  std::chrono::milliseconds stall_limit{1000};  // a rank that keeps another waiting for longer is lost
};

// One rank's end in one group. For the thread that made it.
class RankEndpoint {
 public:
  virtual ~RankEndpoint() = default;

  [[nodiscard]] virtual std::string address() const = 0;

  // Call it once. Blocks until all ranks are connected, for some seconds at most. Throws engine::GroupBroken.
  [[nodiscard]] virtual std::unique_ptr<engine::Collective> connect(const GroupPlace& place) = 0;
};

using OpenEndpoint = std::function<std::unique_ptr<RankEndpoint>()>;

}  // namespace bellwether::worker
