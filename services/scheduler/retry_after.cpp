#include "scheduler/retry_after.h"

#include <algorithm>
#include <cmath>

namespace bellwether::scheduler {
namespace {

constexpr double kOverloadedRetryAfterMsMin = 250;
constexpr double kOverloadedRetryAfterMsMax = 30000;
// The least that can be promised after RecentCount::kSpan seconds in which no place came free.
constexpr uint32_t kNothingFreedRetryAfterMs = 10000;

int64_t second_of(mesh::TimePoint time) {
  return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
}

}  // namespace

void RecentCount::record(mesh::TimePoint now) {
  const int64_t second = second_of(now);
  Bucket& bucket = buckets_[static_cast<size_t>(second % kSpan)];
  if (bucket.second != second) bucket = {second, 0};
  ++bucket.count;
}

uint64_t RecentCount::count(mesh::TimePoint now, int seconds) const {
  const int64_t last = second_of(now);
  uint64_t sum = 0;
  for (const Bucket& bucket : buckets_) {
    if (bucket.second >= last - seconds && bucket.second <= last) sum += bucket.count;
  }
  return sum;
}

uint32_t overloaded_retry_after_ms(double frees_per_s, uint64_t refused_before) {
  if (frees_per_s <= 0) return kNothingFreedRetryAfterMs;
  const double wait_ms = std::ceil(1000.0 * (static_cast<double>(refused_before) + 1) / frees_per_s);
  return static_cast<uint32_t>(std::clamp(wait_ms, kOverloadedRetryAfterMsMin, kOverloadedRetryAfterMsMax));
}

}  // namespace bellwether::scheduler
