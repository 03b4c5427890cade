// Identifiers that are unique in a mesh.
#pragma once

#include <string>
#include <string_view>

namespace bellwether::mesh {

// `prefix` + "-" + `digits` lower-case hexadecimal digits from the system's random source. Thread-safe.
[[nodiscard]] std::string random_id(std::string_view prefix, int digits = 12);

}  // namespace bellwether::mesh
