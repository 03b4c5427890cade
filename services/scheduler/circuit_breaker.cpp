#include "scheduler/circuit_breaker.h"

#include <algorithm>

namespace bellwether::scheduler {

void CircuitBreaker::heard(const v1::ReplicaState& state, mesh::TimePoint now) {
  const uint64_t steps = state.ranks().empty() ? 0 : state.ranks(0).steps();
  if (epoch_ != state.epoch()) {
    *this = CircuitBreaker(options_);
    epoch_ = state.epoch();
    steps_ = steps;
    progressed_at_ = active_at_ = now;
  }
  const bool progressed = steps != steps_;
  // From the first report of work on: before it the head may have had none.
  const bool had_work = has_work_;
  has_work_ = state.load().running() + state.load().waiting() > 0;
  if (progressed || !has_work_ || !had_work) progressed_at_ = now;
  if (progressed || has_work_) active_at_ = now;
  steps_ = steps;
  const bool stalls = options_.stall_limit.count() > 0 && now - progressed_at_ > options_.stall_limit;
  if (stalls && !open_) open_now(now);
}

void CircuitBreaker::answered(bool answered, mesh::TimePoint now) {
  count(answered, silences_, now);
}

void CircuitBreaker::finished(bool without_error, mesh::TimePoint now) {
  count(without_error, errors_, now);
}

void CircuitBreaker::count(bool good, int& failures, mesh::TimePoint now) {
  failures = good ? 0 : failures + 1;
  if (failures >= kFailuresInRow && !open_) open_now(now);
}

void CircuitBreaker::open_now(mesh::TimePoint now) {
  open_ = true;
  canary_at_ = now + open_for_;
  open_for_ = std::min(2 * open_for_, kOpenMax);
}

bool CircuitBreaker::wants_canary(mesh::TimePoint now) const {
  if (canary_out_ || !epoch_) return false;
  if (open_) return now >= canary_at_;
  return options_.canary_after_idle.count() > 0 && now - active_at_ >= options_.canary_after_idle;
}

void CircuitBreaker::canary_ended(uint64_t epoch, bool token_came, mesh::TimePoint now) {
  if (epoch_ != epoch) return;
  canary_out_ = false;
  active_at_ = now;
  if (!token_came) return open_now(now);
  open_ = false;
  silences_ = errors_ = 0;
  open_for_ = kOpenMin;
  progressed_at_ = now;
}

}  // namespace bellwether::scheduler
