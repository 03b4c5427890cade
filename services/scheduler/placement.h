// Which head gets a request: a pure function over what a scheduler knows of the heads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace bellwether::scheduler {

// One ready head of the model asked for. The text belongs to the table that made the view.
struct ReplicaView {
  std::string_view replica_id;
  uint64_t epoch = 0;
  uint64_t requests = 0;      // it is known to hold, reservations on their way to it included
  uint64_t requests_own = 0;  // of the reservations, those that this scheduler made
  uint64_t requests_max = 0;  // it takes; more is refused
  double kv_use = 0;          // of its KV cache, 0 to 1
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

// The head with the fewest requests; then the one with the lowest KV use, in whole tenths, because finer differences
// say nothing about the next second; then the one with the fewest reservations of this scheduler; then by `order`.
// Nothing when every head is full or `excluded`.
//
// For two schedulers that know each other and a burst on evenly loaded heads this is exact: whatever the delay of their
// Dispatch events, no head gets more than one request above any other. Each takes the heads in its own direction, round
// after round (the comparison of own reservations keeps it in step when the other's are seen in part), and the sum of
// an ascending and a descending round differs by one at most.
[[nodiscard]] std::optional<size_t> least_request(std::span<const ReplicaView> heads, TieOrder order,
                                                  std::span<const std::string> excluded = {});

}  // namespace bellwether::scheduler
