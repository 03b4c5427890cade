// Whether a head can be trusted with requests. Pure.
//
// A head is cut off after kFailuresInRow offers that it did not answer or requests that it ended with an error, or when
// it has work and computes no step for the stall limit. After kOpenMin, which doubles each time, it is tried with a
// canary: one token of a request of the scheduler's own. When that comes the circuit closes. A head that has had
// nothing to do for long is tried in the same way, so that it is not a client who finds out.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "bellwether/v1/mesh.pb.h"
#include "mesh/clock.h"

namespace bellwether::scheduler {

struct BreakerOptions {
  std::chrono::milliseconds stall_limit{0};        // 0 = none
  std::chrono::milliseconds canary_after_idle{0};  // 0 = never
};

class CircuitBreaker {
 public:
  static constexpr int kFailuresInRow = 3;
  static constexpr std::chrono::milliseconds kOpenMin{1000};
  static constexpr std::chrono::milliseconds kOpenMax{10000};

  explicit CircuitBreaker(BreakerOptions options) : options_(options) {}

  // A heartbeat of a head that takes work. A new epoch is a new head.
  void heard(const v1::ReplicaState& state, mesh::TimePoint now);
  void answered(bool answered, mesh::TimePoint now);       // the offer of a request, or kept silent
  void finished(bool without_error, mesh::TimePoint now);  // a request

  // A canary is to be sent; the caller tells how it ended, and of which epoch it was.
  [[nodiscard]] bool wants_canary(mesh::TimePoint now) const;
  void canary_sent() { canary_out_ = true; }
  void canary_ended(uint64_t epoch, bool token_came, mesh::TimePoint now);

  [[nodiscard]] bool open() const { return open_; }

 private:
  void count(bool good, int& failures, mesh::TimePoint now);
  void open_now(mesh::TimePoint now);

  BreakerOptions options_;
  std::optional<uint64_t> epoch_;
  uint64_t steps_ = 0;
  bool has_work_ = false;
  mesh::TimePoint progressed_at_;  // last seen without work or with a new step
  mesh::TimePoint active_at_;      // last seen with work, a new step, or a canary
  int silences_ = 0;               // in a row, as are
  int errors_ = 0;
  bool open_ = false;
  bool canary_out_ = false;
  std::chrono::milliseconds open_for_ = kOpenMin;
  mesh::TimePoint canary_at_;  // while open
};

}  // namespace bellwether::scheduler
