// What a client says about its request in headers, for the mesh.
#pragma once

#include "bellwether/v1/generate.pb.h"
#include "mesh/http_server.h"

namespace bellwether::gateway {

// Passes them on: `traceparent` when it is one of W3C's trace contexts, `routing-strategy`, `x-session-id` (or
// `session-id`), `x-priority`, and `x-queue-timeout-ms`, how long the request may wait for a replica with room. What
// the body says counts more. Throws Error{kInvalidArgument} naming the header.
void apply_headers(const mesh::HttpRequest& http, bool has_priority, v1::GenerateRequest& request);

}  // namespace bellwether::gateway
