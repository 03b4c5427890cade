// How a rank reaches the others of its group: the seam between the worker, which brings addresses together, and the
// transport that computes over them.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/ranks/collective.h"

namespace bellwether::worker {

// One rank's end in one group. For the thread that made it.
class RankEndpoint {
 public:
  virtual ~RankEndpoint() = default;

  [[nodiscard]] virtual std::string address() const = 0;

  // The collective of all `addresses`, in order of rank, of which this is `rank`. Call it once. A rank that keeps
  // another waiting for longer than `stall_limit` is taken as lost. Throws engine::GroupBroken.
  [[nodiscard]] virtual std::unique_ptr<engine::Collective> connect(int rank, const std::vector<std::string>& addresses,
                                                                    std::chrono::milliseconds stall_limit) = 0;
};

using OpenEndpoint = std::function<std::unique_ptr<RankEndpoint>()>;

}  // namespace bellwether::worker
