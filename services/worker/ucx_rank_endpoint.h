// The ranks' ends on UCX, for processes.
#pragma once

#include "worker/rank_endpoint.h"

namespace bellwether::worker {

// Throws engine::GroupBroken when UCX finds nothing to communicate by.
[[nodiscard]] std::unique_ptr<RankEndpoint> open_ucx_endpoint();

}  // namespace bellwether::worker
