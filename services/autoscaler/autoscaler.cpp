#include "autoscaler/autoscaler.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <set>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "mesh/error.h"
#include "mesh/log.h"
#include "mesh/subjects.h"

namespace bellwether::autoscaler {
namespace {

namespace asio = boost::asio;
namespace log = mesh::log;
namespace subjects = mesh::subjects;

// Several heartbeats: who has not been heard by then is silent.
constexpr std::chrono::milliseconds kListenFirst{1000};
constexpr std::chrono::milliseconds kBusAnswersWithin{500};

bool same_numbers(const v1::ScaleDecision& a, const v1::ScaleDecision& b) {
  return a.replicas_desired() == b.replicas_desired() && a.replicas_ready() == b.replicas_ready() &&
         a.replicas_pending() == b.replicas_pending();
}

}  // namespace

Autoscaler::Autoscaler(asio::io_context& io, mesh::Bus& bus, prometheus::Registry& registry, AutoscalerOptions options,
                       std::unique_ptr<ReplicaSet> replicas, std::function<void()> on_ready)
    : io_(io),
      bus_(bus),
      options_(std::move(options)),
      replicas_(std::move(replicas)),
      on_ready_(std::move(on_ready)),
      metrics_(registry),
      watch_(mesh::steady_now),
      queues_(mesh::steady_now),
      next_(io),
      ended_(io, asio::steady_timer::time_point::max()) {
  if (!options_.model.empty()) models_[options_.model];
  states_ = bus_.subscribe<v1::ReplicaState>(subjects::kAllReplicaStates,
                                             [this](const v1::ReplicaState& state, const mesh::BusMessage&) {
                                               if (watch_.apply(state) && replicas_)
                                                 replicas_->heard(state.replica_id());
                                             });
  queue_states_ = bus_.subscribe<v1::QueueState>(
      subjects::kAllQueues, [this](const v1::QueueState& state, const mesh::BusMessage&) { queues_.apply(state); });
  asio::co_spawn(io_, run(), asio::detached);
}

Autoscaler::~Autoscaler() = default;

asio::awaitable<void> Autoscaler::stop() {
  stopping_ = true;
  next_.cancel();
  while (running_) {
    boost::system::error_code cancelled;
    co_await ended_.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  }
  states_.reset();
  queue_states_.reset();
  if (replicas_) co_await replicas_->stop();
}

asio::awaitable<void> Autoscaler::run() {
  while (!stopping_) {
    try {
      if (co_await listening()) decide_all();
    } catch (const std::exception& error) {
      log::error("no decision", {{"error", error.what()}});
    }
    if (stopping_) break;
    next_.expires_after(ready_ ? options_.interval : std::min(options_.interval, kListenFirst));
    boost::system::error_code cancelled;
    co_await next_.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  }
  running_ = false;
  ended_.cancel();
}

asio::awaitable<bool> Autoscaler::listening() {
  const bool hears = co_await bus_.flush(kBusAnswersWithin);
  const mesh::TimePoint now = mesh::steady_now();
  if (!hears) {
    if (hearing_) log::warning("the bus does not answer, nothing is decided");
    hearing_ = false;
    co_return false;
  }
  if (!hearing_) {
    hearing_ = true;
    hearing_since_ = now;
    watch_.excuse_silence();
  }
  co_return now - hearing_since_ >= kListenFirst;
}

void Autoscaler::decide_all() {
  if (stopping_) return;
  if (!std::exchange(ready_, true)) on_ready_();
  collect_ended();
  const mesh::TimePoint now = mesh::steady_now();
  for (const std::string& name : watch_.models()) {
    if (!options_.model.empty() && name != options_.model) continue;
    if (models_.size() < kModelsMax || models_.contains(name)) models_[name].served_at = now;
  }
  for (auto it = models_.begin(); it != models_.end();) {
    const auto current = it++;
    if (options_.model.empty() && now - current->second.served_at > kModelForgottenAfter) {
      metrics_.forget(current->first);
      models_.erase(current);
    } else {
      decide_for(current->first, current->second);
    }
  }
}

void Autoscaler::collect_ended() {
  for (const std::string& id : watch_.forget_dead()) {
    log::warning("replica is dead", {{"replica_id", id}});
    if (replicas_) replicas_->hung(id);
  }
  if (!replicas_) return;
  for (const std::string& id : replicas_->collect_ended()) watch_.forget(id);
}

void Autoscaler::decide_for(const std::string& name, Model& model) {
  const Policy& policy = options_.policy;
  const Observation seen = observe(name);
  const uint32_t before = model.history.desired().value_or(seen.total());
  const Decision decision = decide(seen, policy, model.history);
  model.history.record(seen, decision, std::max(policy.scale_up_window, policy.scale_down_window));
  metrics_.update(name, seen, decision, before);
  if (decision.desired != before) {
    log::info("scale", {{"model", name},
                        {"from", before},
                        {"to", decision.desired},
                        {"reasons", fmt::format("{}", fmt::join(decision.reasons, "; "))}});
  }
  publish(name, model, seen, decision);
  if (replicas_) carry_out(decision);
}

// What has been started and not been heard yet is pending, too.
Observation Autoscaler::observe(const std::string& name) {
  Observation seen = watch_.observe(name);
  seen.queued = queues_.observe(name);
  if (!replicas_) return seen;
  for (const ReplicaSet::Member& member : replicas_->members()) {
    if (!member.heard) ++seen.pending;
  }
  return seen;
}

// Replicas that somebody else started count towards the decision but cannot be stopped from here.
void Autoscaler::carry_out(const Decision& decision) {
  std::set<std::string> own;
  for (const ReplicaSet::Member& member : replicas_->members()) own.insert(member.replica_id);
  uint32_t others = 0;
  for (const std::string& id : watch_.members(options_.model)) others += own.contains(id) ? 0 : 1;
  replicas_->scale_to(decision.desired > others ? decision.desired - others : 0);
}

void Autoscaler::publish(const std::string& name, Model& model, const Observation& seen, const Decision& decision) {
  v1::ScaleDecision message;
  message.set_model(name);
  message.set_replicas_ready(seen.ready());
  message.set_replicas_pending(seen.pending);
  message.set_replicas_desired(decision.desired);
  message.set_kv_cache_use_mean(decision.kv_use_mean.value_or(0));
  message.set_kv_cache_use_target(options_.policy.kv_use_target);
  for (const std::string& reason : decision.reasons) message.add_reasons(reason);
  message.set_decided_unix_ms(mesh::unix_ms_now());
  const mesh::TimePoint now = mesh::steady_now();
  const bool known = model.published.decided_unix_ms() != 0 && now - model.published_at < kRepublishAfter;
  if (known && same_numbers(message, model.published)) return;
  try {
    bus_.publish(subjects::scale(name), message);
  } catch (const mesh::Error& error) {
    log::warning("decision not published", {{"model", name}, {"error", error.what()}});
    return;
  }
  model.published = std::move(message);
  model.published_at = now;
}

}  // namespace bellwether::autoscaler
