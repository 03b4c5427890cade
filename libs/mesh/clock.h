// Time as something that is handed in, so that tests choose it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

namespace bellwether::mesh {

using TimePoint = std::chrono::steady_clock::time_point;

// Monotonic time. Logic classes take one of these; services pass `steady_now`, tests a lambda over a variable.
using Clock = std::function<TimePoint()>;

inline TimePoint steady_now() {
  return std::chrono::steady_clock::now();
}

// Wall-clock time for messages that leave the process, in milliseconds since 1970.
inline uint64_t unix_ms_now() {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count());
}

}  // namespace bellwether::mesh
