#pragma once

#include <string>

namespace bellwether::worker {

// Of this machine, as it calls itself; "" when it does not.
[[nodiscard]] std::string host_name();

}  // namespace bellwether::worker
