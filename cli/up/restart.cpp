#include "cli/up/restart.h"

#include <algorithm>

namespace bellwether::cli {

std::optional<std::chrono::milliseconds> RestartPolicy::died(mesh::TimePoint started, mesh::TimePoint now) {
  if (now - started >= kSteady) in_a_row_ = 0;
  if (in_a_row_ >= limits_.restarts_max) return std::nullopt;
  const auto wait = std::min(limits_.wait_max, kWaitMin * (1 << std::min<int64_t>(in_a_row_, 16)));
  ++in_a_row_;
  return wait;
}

}  // namespace bellwether::cli
