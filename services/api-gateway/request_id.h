// The names of a request: the client's own, and the mesh's.
#pragma once

#include <string>
#include <string_view>

namespace bellwether::gateway {

struct RequestId {
  std::string client;  // in the x-request-id header of the reply
  std::string mesh;    // unique, on the bus and on log lines; begins with the client's, so that a search finds both
};

// `offered` is the client's x-request-id: taken when it is 1 to 64 characters of [A-Za-z0-9._-], replaced otherwise.
[[nodiscard]] RequestId make_request_id(std::string_view offered);

}  // namespace bellwether::gateway
