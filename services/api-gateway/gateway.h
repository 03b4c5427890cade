// The API gateway: OpenAI's REST API in, events out; text <-> tokens.
#pragma once

#include <memory>
#include <set>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include "api-gateway/access/gatekeeper.h"
#include "api-gateway/api.h"
#include "api-gateway/gateway_metrics.h"
#include "api-gateway/generation.h"
#include "api-gateway/model_card_client.h"
#include "api-gateway/model_directory.h"
#include "api-gateway/settings.h"
#include "api-gateway/stream_table.h"
#include "mesh/service.h"

namespace bellwether::gateway {

class Gateway : public mesh::Component {
 public:
  // REQUIRES: `service` outlives this.
  Gateway(mesh::Service& service, GatewaySettings settings);

  // Refuses new work, lets what is in progress finish within the grace, and ends the rest with an error.
  boost::asio::awaitable<void> stop() override;

 private:
  void observe(const v1::ReplicaState& state);
  void show_readiness();
  void sweep();
  void deliver(const v1::TokenBatch& batch);
  void lose_streams_of(const std::vector<GoneHead>& gone);
  boost::asio::awaitable<void> fetch_card(std::string model, std::string digest);
  boost::asio::awaitable<void> sweep_until_stopped();
  boost::asio::awaitable<bool> all_streams_ended(mesh::TimePoint deadline);

  mesh::Service& service_;
  const GatewaySettings settings_;
  const std::string gateway_id_;
  GatewayMetrics metrics_;
  ModelDirectory directory_;
  StreamTable streams_;
  ModelCardClient cards_;
  GenerationContext context_;
  Gatekeeper gatekeeper_;
  Api api_;
  std::set<std::string> digests_seen_;  // whose cards were fetched, or tried, before anybody asked
  bool stopping_ = false;
  bool stopped_ = false;
  mesh::TimePoint excused_until_;  // heads may be silent till then, because the bus was away
  boost::asio::steady_timer sweep_timer_;
  mesh::Subscription tokens_;
  mesh::Subscription states_;
};

}  // namespace bellwether::gateway
