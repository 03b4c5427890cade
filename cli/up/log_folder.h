// Where the processes of a mesh write their logs.
#pragma once

#include <string>

namespace bellwether::cli {

// Makes `chosen`, or, when it is empty, a fresh folder under $XDG_STATE_HOME, $TMPDIR or /tmp that only this user can
// read. Returns its absolute path. Throws mesh::Error{kUnavailable} (field --log-folder) when it cannot.
[[nodiscard]] std::string make_log_folder(const std::string& chosen);

}  // namespace bellwether::cli
