// How large the KV cache of a group is: GPUs that leave different room for it agree on the smallest.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/ranks/collective.h"

namespace bellwether::engine {

// The least of all ranks' `own`; every rank calls it. Throws GroupBroken.
[[nodiscard]] inline int64_t fewest_blocks(Collective& group, int64_t own) {
  std::vector<int64_t> all(static_cast<size_t>(group.ranks()));
  group.all_gather(std::as_bytes(std::span(&own, 1)), std::as_writable_bytes(std::span(all)));
  return *std::ranges::min_element(all);
}

}  // namespace bellwether::engine
