// The HTTP API: OpenAI's endpoints on top of generations.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>

#include <boost/asio/awaitable.hpp>

#include "api-gateway/access/gatekeeper.h"
#include "api-gateway/gateway_metrics.h"
#include "api-gateway/generate_request.h"
#include "api-gateway/generation.h"
#include "api-gateway/model_card_client.h"
#include "api-gateway/reply_stream.h"
#include "api-gateway/settings.h"
#include "mesh/http_server.h"

namespace bellwether::gateway {

struct Access;  // what the log says about a request

// Lives on one single-threaded executor.
class Api {
 public:
  // REQUIRES: all that is handed in outlives this, and this outlives the handlers.
  Api(GenerationContext& context, ModelCardClient& cards, Gatekeeper& gatekeeper, GatewayMetrics& metrics,
      const GatewaySettings& settings, std::string gateway_id);

  void add_routes(mesh::HttpServer& http);

  // From now on requests for tokens are answered 503.
  void refuse_new_work() { draining_ = true; }

 private:
  using Endpoint = boost::asio::awaitable<void> (Api::*)(mesh::HttpExchange&, Access&);

  // What a request for tokens comes to once it is understood.
  struct Job {
    GenerationParameters parameters;
    std::shared_ptr<const ServedModel> model;
    v1::GenerateRequest request;
    OutputOptions options;
    std::unique_ptr<ReplyFormat> format;
  };

  // Runs an endpoint; answers its failures, logs and counts its outcome.
  boost::asio::awaitable<void> answer(mesh::HttpExchange& exchange, const char* path, Endpoint endpoint);
  boost::asio::awaitable<void> list_models(mesh::HttpExchange& exchange, Access& access);
  boost::asio::awaitable<void> chat(mesh::HttpExchange& exchange, Access& access);
  boost::asio::awaitable<void> complete(mesh::HttpExchange& exchange, Access& access);

  // The model, with the limits of the heads that serve it now. Throws RequestFailed: 404 for one that nobody has, 503
  // for one that nobody serves at the moment.
  boost::asio::awaitable<std::shared_ptr<const ServedModel>> find_model(const std::string& name, PromptLimits& limits,
                                                                        Access& access);
  void check_capacity() const;

  // Reserves what the request may use of its key's limits. Throws RequestFailed: 429.
  void admit(Access& access, Job& job);
  boost::asio::awaitable<void> generate(mesh::HttpExchange& exchange, Access& access, Job job);
  boost::asio::awaitable<void> send_stream(mesh::HttpExchange& exchange, Access& access, ReplyStream& reply,
                                           ReplyFormat& format, bool include_usage);
  boost::asio::awaitable<void> send_whole(mesh::HttpExchange& exchange, Access& access, ReplyStream& reply,
                                          ReplyFormat& format);
  void record(const Access& access, const mesh::HttpRequest& request);

  GenerationContext& context_;
  ModelCardClient& cards_;
  Gatekeeper& gatekeeper_;
  GatewayMetrics& metrics_;
  const GatewaySettings& settings_;
  const std::string gateway_id_;
  bool draining_ = false;
  std::mt19937_64 random_{std::random_device{}()};
};

}  // namespace bellwether::gateway
