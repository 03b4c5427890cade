// The ranks' ends on UCX, for processes.
#pragma once

#include "worker/rank_endpoint.h"

namespace bellwether::worker {

// Throws engine::GroupBroken when UCX finds nothing to communicate by.
[[nodiscard]] std::unique_ptr<RankEndpoint> open_ucx_endpoint();

// From now on only this machine's ranks can be reached and can reach this one, unless UCX_NET_DEVICES says otherwise.
// Call it before there are other threads.
void keep_ucx_on_this_machine();

}  // namespace bellwether::worker
