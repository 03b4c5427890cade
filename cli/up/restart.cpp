#include "cli/up/restart.h"

#include <algorithm>

namespace bellwether::cli {

std::optional<std::chrono::milliseconds> RestartPolicy::died(mesh::TimePoint started, mesh::TimePoint now) {
  if (now - started >= kSteady) in_a_row_ = 0;
  if (in_a_row_ >= kRestartsMax) return std::nullopt;
  const auto wait = std::min(kWaitMax, kWaitMin * (1 << in_a_row_));
  ++in_a_row_;
  return wait;
}

}  // namespace bellwether::cli
