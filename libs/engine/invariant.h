// For what must be true whatever the input: a failure is a bug in this program, and going on would spread it.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace bellwether::engine {

inline void require(bool condition, const char* message) {
  if (condition) [[likely]]
    return;
  std::fprintf(stderr, "bellwether engine: %s\n", message);
  std::abort();
}

}  // namespace bellwether::engine
