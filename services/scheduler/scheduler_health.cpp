// Which heads are trusted: how their circuits open and close.
#include <exception>
#include <utility>

#include "mesh/clock.h"
#include "mesh/log.h"
#include "scheduler/scheduler.h"

namespace bellwether::scheduler {

namespace asio = boost::asio;
namespace log = mesh::log;

void Scheduler::watch(const v1::ReplicaState& state) {
  if (state.phase() != v1::REPLICA_PHASE_READY) {
    breakers_.erase(state.replica_id());
    return;
  }
  change_breaker(state.replica_id(), [&](CircuitBreaker& breaker) { breaker.heard(state, mesh::steady_now()); });
}

void Scheduler::head_answered(const std::string& replica_id, bool answered) {
  if (!breakers_.contains(replica_id)) return;
  change_breaker(replica_id, [&](CircuitBreaker& breaker) { breaker.answered(answered, mesh::steady_now()); });
}

// A request that was cancelled before it had a token says nothing.
void Scheduler::head_finished(const v1::Dispatch& event) {
  if (!breakers_.contains(event.replica_id()) || (!event.failed() && event.completion_tokens() == 0)) return;
  change_breaker(event.replica_id(),
                 [&](CircuitBreaker& breaker) { breaker.finished(!event.failed(), mesh::steady_now()); });
}

template <class Change>
void Scheduler::change_breaker(const std::string& replica_id, Change change) {
  const BreakerOptions options{.stall_limit = std::chrono::milliseconds(settings_.head_stall_ms),
                               .canary_after_idle = std::chrono::milliseconds(settings_.canary_after_idle_ms)};
  CircuitBreaker& breaker = breakers_.try_emplace(replica_id, options).first->second;
  const bool was_open = breaker.open();
  change(breaker);
  placer_.set_open(replica_id, breaker.open());
  if (breaker.open() && !was_open) log::warning("circuit opened", {{"replica_id", replica_id}});
  if (!breaker.open() && was_open) log::info("circuit closed", {{"replica_id", replica_id}});
}

void Scheduler::send_canaries() {
  if (stopping_) return;
  const mesh::TimePoint now = mesh::steady_now();
  replicas().for_each([&](const v1::ReplicaState& state) {
    const auto found = breakers_.find(state.replica_id());
    if (found == breakers_.end() || !found->second.wants_canary(now)) return;
    found->second.canary_sent();
    spawn(send_canary(state.replica_id(), state.model(), state.epoch()));
  });
}

asio::awaitable<void> Scheduler::send_canary(std::string replica_id, std::string model, uint64_t epoch) {
  try {
    const bool came = co_await canary_.send(replica_id, model, std::chrono::milliseconds(settings_.canary_timeout_ms));
    metrics_.count_canary(came);
    if (!came) log::warning("the head gave no token for a canary", {{"replica_id", replica_id}});
    if (breakers_.contains(replica_id) && !stopping_) {
      change_breaker(replica_id,
                     [&](CircuitBreaker& breaker) { breaker.canary_ended(epoch, came, mesh::steady_now()); });
      serve_queue(model);
    }
  } catch (const std::exception& error) {
    log::error("canary not sent", {{"replica_id", replica_id}, {"error", error.what()}});
  }
  finish_task();
}

}  // namespace bellwether::scheduler
