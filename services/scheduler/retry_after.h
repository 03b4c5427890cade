// When a refused client should come back.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>

#include "mesh/clock.h"

namespace bellwether::scheduler {

// With no head at all: about what it takes to notice that one is back.
inline constexpr uint32_t kNoReplicaRetryAfterMs = 2000;

// Counts something over the last kSpan seconds, in buckets of one second.
class RecentCount {
 public:
  static constexpr int kSpan = 10;

  void record(mesh::TimePoint now);
  // Of the `seconds` before this one and of this one so far. REQUIRES: 0 <= seconds < kSpan.
  [[nodiscard]] uint64_t count(mesh::TimePoint now, int seconds) const;

 private:
  struct Bucket {
    int64_t second = -1;
    uint64_t count = 0;
  };
  std::array<Bucket, kSpan> buckets_;
};

// For a client that found every head full: the time until a place is free for it, when places come free at the pace of
// the last seconds and those refused within the last second, who will come back too, are before it.
[[nodiscard]] uint32_t overloaded_retry_after_ms(double frees_per_s, uint64_t refused_before);

}  // namespace bellwether::scheduler
