#include "api-gateway/access/token_bucket.h"

#include <algorithm>

namespace bellwether::gateway {
namespace {

using Minutes = std::chrono::duration<double, std::ratio<60>>;

}  // namespace

TokenBucket::TokenBucket(int64_t per_minute, mesh::TimePoint now)
    : per_minute_(per_minute), level_(static_cast<double>(per_minute)), as_of_(now) {}

double TokenBucket::level(mesh::TimePoint now) const {
  const double minutes = std::max(0.0, Minutes(now - as_of_).count());
  const auto full = static_cast<double>(per_minute_);
  return std::min(full, level_ + full * minutes);
}

bool TokenBucket::try_take(double amount, mesh::TimePoint now) {
  if (amount > level(now)) return false;
  take(amount, now);
  return true;
}

void TokenBucket::take(double amount, mesh::TimePoint now) {
  level_ = std::min(static_cast<double>(per_minute_), level(now) - amount);
  as_of_ = std::max(as_of_, now);
}

void TokenBucket::lower_to(double level_max, mesh::TimePoint now) {
  const double above = level(now) - level_max;
  if (above > 0) take(above, now);
}

std::chrono::nanoseconds TokenBucket::time_until(double amount, mesh::TimePoint now) const {
  const double missing = amount - level(now);
  if (missing <= 0) return std::chrono::nanoseconds(0);
  return std::chrono::round<std::chrono::microseconds>(Minutes(missing / static_cast<double>(per_minute_)));
}

void TokenBucket::set_per_minute(int64_t per_minute, mesh::TimePoint now) {
  const double used = static_cast<double>(per_minute_) - level(now);
  per_minute_ = per_minute;
  level_ = static_cast<double>(per_minute) - used;
  as_of_ = std::max(as_of_, now);
}

}  // namespace bellwether::gateway
