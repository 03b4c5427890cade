#include "api-gateway/gateway.h"

#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "api-gateway/submission.h"
#include "mesh/ids.h"
#include "mesh/log.h"
#include "mesh/subjects.h"

namespace bellwether::gateway {

namespace asio = boost::asio;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kSweepInterval{50};
// After this process is on the bus again, until the heads are, too: mesh::BusOptions::reconnect_wait_max and some more.
constexpr milliseconds kReconnectTimeMax{3000};
constexpr milliseconds kFarewellTime{500};  // of the grace: for the last words of streams that are cut off
constexpr size_t kDigestsSeenMax = 1024;

}  // namespace

Gateway::Gateway(mesh::Service& service, GatewaySettings settings)
    : service_(service),
      settings_(settings),
      gateway_id_(mesh::random_id("gateway")),
      metrics_(service.registry()),
      directory_(mesh::steady_now),
      cards_(service.io().get_executor(), service.bus(),
             {.fetch_time_max = milliseconds(settings_.card_ms_max), .templates = settings_.template_limits()}),
      context_{service.io().get_executor(),
               service.bus(),
               streams_,
               directory_,
               metrics_,
               {.placement_time_max = milliseconds(settings_.placement_ms_max),
                .queue_time_max = milliseconds(settings_.queue_ms_max),
                .first_token_time_max = milliseconds(settings_.first_token_ms_max),
                .token_gap_time_max = milliseconds(settings_.token_gap_ms_max),
                .lost_tokens_time_max = milliseconds(settings_.lost_tokens_ms_max),
                .recovery_time_max = milliseconds(settings_.recovery_ms_max),
                .recoveries_max = settings_.recoveries_max}},
      gatekeeper_(service.io().get_executor(), service.bus(), settings_.access, gateway_id_, service.http_address()),
      api_(context_, cards_, gatekeeper_, metrics_, service.tracer(), settings_, gateway_id_),
      sweep_timer_(service.io()) {
  api_.add_routes(service.http());
  tokens_ = service.bus().subscribe<v1::TokenBatch>(
      mesh::subjects::gateway_tokens(gateway_id_),
      [this](const v1::TokenBatch& batch, const mesh::BusMessage&) { deliver(batch); });
  states_ = service.bus().subscribe<v1::ReplicaState>(
      mesh::subjects::kAllReplicaStates,
      [this](const v1::ReplicaState& state, const mesh::BusMessage&) { observe(state); });
  asio::co_spawn(service.io(), sweep_until_stopped(), asio::detached);
  show_readiness();
}

// Without a model there is nothing to be asked for.
void Gateway::show_readiness() {
  if (!stopping_) service_.set_ready(directory_.serves_any(), "no model is served at the moment");
}

void Gateway::deliver(const v1::TokenBatch& batch) {
  for (const v1::TokenEvent* event : streams_.deliver(batch)) {
    publish_cancel(service_.bus(), batch.replica_id(), event->request_id(), event->attempt());
  }
}

void Gateway::observe(const v1::ReplicaState& state) {
  lose_streams_of(directory_.observe(state));
  show_readiness();
  if (state.phase() != v1::REPLICA_PHASE_READY || state.card_digest().empty()) return;
  if (digests_seen_.size() >= kDigestsSeenMax || !digests_seen_.insert(state.card_digest()).second) return;
  // Now rather than at the model's first request, which would wait for it.
  asio::co_spawn(service_.io(), fetch_card(state.model(), state.card_digest()), asio::detached);
}

asio::awaitable<void> Gateway::fetch_card(std::string model, std::string digest) {
  try {
    co_await cards_.get(std::move(model), std::move(digest));
  } catch (const mesh::Error&) {
    // Logged where it was fetched; the first request of the model tries again.
  }
}

void Gateway::lose_streams_of(const std::vector<GoneHead>& gone) {
  for (const GoneHead& head : gone) {
    mesh::log::info("head gone", {{"replica_id", head.head.replica_id}, {"epoch", head.head.epoch}, {"why", head.why}});
    streams_.lose_all_on(head.head, replica_gone(head.why));
  }
}

void Gateway::sweep() {
  const mesh::TimePoint now = mesh::steady_now();
  if (!service_.bus().connected()) excused_until_ = now + kReconnectTimeMax;
  if (now < excused_until_) {
    directory_.excuse_silence();
  } else {
    lose_streams_of(directory_.sweep());
  }
}

asio::awaitable<void> Gateway::sweep_until_stopped() {
  while (!stopped_) {
    sweep();
    show_readiness();
    metrics_.streams_in_flight().Set(static_cast<double>(streams_.size()));
    sweep_timer_.expires_after(kSweepInterval);
    co_await sweep_timer_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

asio::awaitable<bool> Gateway::all_streams_ended(mesh::TimePoint deadline) {
  constexpr milliseconds kPollInterval{10};
  asio::steady_timer timer(service_.io());
  while (streams_.size() + context_.submissions > 0 && mesh::steady_now() < deadline) {
    timer.expires_after(kPollInterval);
    co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  co_return streams_.size() == 0;
}

asio::awaitable<void> Gateway::stop() {
  if (std::exchange(stopping_, true)) co_return;
  service_.set_ready(false);
  api_.refuse_new_work();
  const mesh::TimePoint deadline = mesh::steady_now() + service_.shutdown_grace();
  if (!co_await all_streams_ended(deadline - kFarewellTime)) {
    mesh::log::warning("streams cut off by the shutdown", {{"streams", streams_.size()}});
    streams_.interrupt_all({503, "shutting_down", "this gateway is shutting down", "", milliseconds(1000)});
    co_await all_streams_ended(deadline);
  }
  stopped_ = true;
  gatekeeper_.stop();
  sweep_timer_.cancel();
  states_.reset();
  tokens_.reset();
}

}  // namespace bellwether::gateway
