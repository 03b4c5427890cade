// HOST:PORT, as settings name the addresses to listen on.
#pragma once

#include <cstdint>
#include <string>

namespace bellwether::mesh {

struct Address {
  std::string host;  // a name, or an IP address without brackets
  uint16_t port = 0;
};

// HOST is a name, an IPv4 address or an IPv6 address in brackets. Throws Error{kInvalidArgument} when `text` is no such
// thing.
[[nodiscard]] Address parse_address(const std::string& text);

[[nodiscard]] std::string to_string(const Address& address);

// True when only this machine can reach the host: "localhost", 127.0.0.0/8 and ::1. Names are not resolved.
[[nodiscard]] bool is_loopback(const Address& address);

}  // namespace bellwether::mesh
