#include "mesh/cache_salt.h"

#include <openssl/sha.h>

#include <array>

namespace bellwether::mesh {

uint64_t cache_salt_of(const std::string& salt) {
  if (salt.empty()) return 0;
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(salt.data()), salt.size(), digest.data());
  uint64_t hash = 0;
  for (size_t i = 0; i < sizeof(hash); ++i) hash = hash << 8 | digest[i];
  return hash;
}

}  // namespace bellwether::mesh
