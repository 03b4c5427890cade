// How long to wait before a child that died is started again, and when to give up.
#pragma once

#include <chrono>
#include <optional>

#include "mesh/clock.h"

namespace bellwether::cli {

class RestartPolicy {
 public:
  static constexpr std::chrono::milliseconds kWaitMin{200};
  static constexpr std::chrono::milliseconds kWaitMax{10000};
  static constexpr std::chrono::seconds kSteady{60};  // a child that lived this long has recovered
  static constexpr int kRestartsMax = 8;              // in a row, without recovering between

  // The child that was started at `started` has died. nullopt: too often, it will not be started again.
  [[nodiscard]] std::optional<std::chrono::milliseconds> died(mesh::TimePoint started, mesh::TimePoint now);

 private:
  int in_a_row_ = 0;
};

}  // namespace bellwether::cli
