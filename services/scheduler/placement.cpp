#include "scheduler/placement.h"

#include <algorithm>
#include <tuple>

namespace bellwether::scheduler {

size_t TieOrder::position(size_t index, size_t heads) const {
  const size_t pairs = (schedulers + 1) / 2;
  const size_t start = rank / 2 * heads / pairs;
  const bool ascending = rank % 2 == 0;
  return ascending ? (index + heads - start) % heads : (start + heads - 1 - index) % heads;
}

std::optional<size_t> least_request(std::span<const ReplicaView> heads, TieOrder order,
                                    std::span<const std::string> excluded) {
  const auto cost = [&](size_t index) {
    const ReplicaView& head = heads[index];
    return std::tuple(head.requests, static_cast<int>(head.kv_use * 10), head.requests_own,
                      order.position(index, heads.size()));
  };
  std::optional<size_t> best;
  for (size_t i = 0; i < heads.size(); ++i) {
    if (heads[i].requests >= heads[i].requests_max) continue;
    if (std::find(excluded.begin(), excluded.end(), heads[i].replica_id) != excluded.end()) continue;
    if (!best || cost(i) < cost(*best)) best = i;
  }
  return best;
}

}  // namespace bellwether::scheduler
