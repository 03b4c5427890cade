// The programs and the model that `bellwether up` starts a mesh from.
#pragma once

#include <string>
#include <string_view>

namespace bellwether::cli {

struct Programs {
  std::string api_gateway;
  std::string scheduler;
  std::string autoscaler;
  std::string worker;
};

// The services stand beside this program. Throws mesh::Error{kUnavailable} naming what is missing.
[[nodiscard]] Programs find_programs(const std::string& folder);

// In the folders of `path` (as in $PATH), then in /usr/sbin and /usr/local/sbin, where Debian puts it and an ordinary
// user's PATH does not lead. Throws mesh::Error{kUnavailable} that says how to install it.
[[nodiscard]] std::string find_nats_server(std::string_view path);

// Installed, the demo model is in ../share/bellwether/models beside `program_folder`; in a build tree it is in the
// source tree. Throws mesh::Error{kUnavailable} when it is in neither.
[[nodiscard]] std::string find_demo_model(const std::string& program_folder);

// The model directory as an absolute path. Throws mesh::Error{kInvalidArgument} (field --model) when there is no model.
[[nodiscard]] std::string require_model(const std::string& folder);

}  // namespace bellwether::cli
