// How `bellwether up` learns where its children listen and whether clients can use them.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

namespace bellwether::cli {

// The client URL in the file that nats-server --ports_file_dir leaves in `folder`; nullopt until it is there.
[[nodiscard]] std::optional<std::string> read_nats_url(const std::string& folder, pid_t nats_server);

// The client URL in the text of such a file.
[[nodiscard]] std::optional<std::string> parse_nats_ports(std::string_view text);

// The port at the end of "nats://127.0.0.1:4222". Throws mesh::Error{kInvalidArgument} when there is none.
[[nodiscard]] int port_of_url(std::string_view url);

// The address that a service's JSON log names in the "started" line of that process; nullopt until it has been written.
// Lines of earlier processes may stand before it.
[[nodiscard]] std::optional<std::string> find_http_address(std::string_view log_text, pid_t service);

// Throws mesh::Error{kUnavailable} naming the address (field --http) when somebody else listens there, or it is no
// address of this machine; mesh::Error{kInvalidArgument} when it is not HOST:PORT. Port 0 is always free.
void require_free_address(const std::string& text);

// Where a client on this machine reaches a server bound to `address`: "http://127.0.0.1:8000" for "0.0.0.0:8000".
[[nodiscard]] std::string client_url(const std::string& address);

}  // namespace bellwether::cli
