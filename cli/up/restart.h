// How long to wait before a child that died is started again, and when to give up.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "mesh/clock.h"

namespace bellwether::cli {

struct RestartLimits {
  std::chrono::milliseconds wait_max{10000};
  int64_t restarts_max = 8;  // in a row, without recovering between
};

class RestartPolicy {
 public:
  static constexpr std::chrono::milliseconds kWaitMin{200};  // doubles with each in a row
  static constexpr std::chrono::seconds kSteady{60};         // a child that lived this long has recovered

  explicit RestartPolicy(const RestartLimits& limits) : limits_(limits) {}

  // The child that was started at `started` has died. nullopt: too often, it will not be started again.
  [[nodiscard]] std::optional<std::chrono::milliseconds> died(mesh::TimePoint started, mesh::TimePoint now);

 private:
  RestartLimits limits_;
  int64_t in_a_row_ = 0;
};

}  // namespace bellwether::cli
