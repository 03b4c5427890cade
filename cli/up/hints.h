// What `bellwether up` says once the mesh answers.
#pragma once

#include <string>

namespace bellwether::cli {

// "ready URL", a request to try with curl, and how to chat with this `program`.
[[nodiscard]] std::string ready_text(const std::string& url, const std::string& model, const std::string& program);

}  // namespace bellwether::cli
