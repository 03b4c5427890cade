// So many a minute, with a minute's worth at once.
//
// A bucket holds at most `per_minute`, is full at first, and fills evenly. So over any time of t minutes at most
// per_minute * (1 + t) are taken by try_take().
#pragma once

#include <chrono>
#include <cstdint>

#include "mesh/clock.h"

namespace bellwether::gateway {

class TokenBucket {
 public:
  TokenBucket(int64_t per_minute, mesh::TimePoint now);

  // Takes `amount` if there is as much.
  bool try_take(double amount, mesh::TimePoint now);

  // Takes it whether it is there or not: what is left may be below 0, and nothing is had until that has been made up. A
  // negative amount is given back.
  void take(double amount, mesh::TimePoint now);

  // Leaves no more than `level`.
  void lower_to(double level, mesh::TimePoint now);

  [[nodiscard]] double level(mesh::TimePoint now) const;

  // How long until there is `amount`, to the microsecond; 0 = now. REQUIRES: amount <= per_minute.
  [[nodiscard]] std::chrono::nanoseconds time_until(double amount, mesh::TimePoint now) const;

  [[nodiscard]] int64_t per_minute() const { return per_minute_; }

  // The limit changed; what has been used stays used.
  void set_per_minute(int64_t per_minute, mesh::TimePoint now);

 private:
  int64_t per_minute_;
  double level_;  // at `as_of_`
  mesh::TimePoint as_of_;
};

}  // namespace bellwether::gateway
