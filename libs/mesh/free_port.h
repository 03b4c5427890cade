// Ports for programs that must be told where to listen before they run.
#pragma once

#include <cstdint>
#include <vector>

namespace bellwether::mesh {

// So many different TCP ports of 127.0.0.1 that nobody listens on. They are below those that systems hand out by
// themselves (from 32768 on Linux), so that they stay free for as long as nobody asks for one by name. Throws
// Error{kUnavailable}.
[[nodiscard]] std::vector<uint16_t> free_loopback_ports(int count);

}  // namespace bellwether::mesh
