// What keeps tenants' cached blocks apart: a number made of a request's cache salt, which is part of the blocks' names.
// Heads and schedulers both name blocks, so they must agree on it.
#pragma once

#include <cstdint>
#include <string>

namespace bellwether::mesh {

// 64 bits of the salt's SHA-256; 0 for the empty salt.
[[nodiscard]] uint64_t cache_salt_of(const std::string& salt);

}  // namespace bellwether::mesh
