#include "mesh/ids.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>

#include "mesh/log.h"

namespace bellwether::mesh {
namespace {

uint8_t random_byte() {
  uint8_t byte = 0;
  while (getrandom(&byte, 1, 0) != 1) {
    if (errno == EINTR) continue;
    log::error("no random numbers from the system");
    std::abort();
  }
  return byte;
}

}  // namespace

std::string random_id(std::string_view prefix, int digits) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string id(prefix);
  id += '-';
  for (int i = 0; i < digits; ++i) id += kHex[random_byte() & 15];
  return id;
}

}  // namespace bellwether::mesh
