// The HTTP API: the endpoints of OpenAI, vLLM and Anthropic on top of generations.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "api-gateway/access/access.h"
#include "api-gateway/access/gatekeeper.h"
#include "api-gateway/constraint_checker.h"
#include "api-gateway/failure.h"
#include "api-gateway/gateway_metrics.h"
#include "api-gateway/generate_request.h"
#include "api-gateway/generation.h"
#include "api-gateway/job.h"
#include "api-gateway/model_card_client.h"
#include "api-gateway/reply_stream.h"
#include "api-gateway/settings.h"
#include "mesh/http_server.h"
#include "mesh/trace.h"

namespace bellwether::gateway {

// Lives on one single-threaded executor.
class Api {
 public:
  // REQUIRES: all that is handed in outlives this, and this outlives the handlers.
  Api(GenerationContext& context, ModelCardClient& cards, Gatekeeper& gatekeeper, GatewayMetrics& metrics,
      mesh::Tracer& tracer, const GatewaySettings& settings, std::string gateway_id);

  void add_routes(mesh::HttpServer& http);

  // Method and path of every route.
  [[nodiscard]] static std::vector<std::pair<std::string, std::string>> routes();

  // From now on requests for tokens are answered 503.
  void refuse_new_work() { draining_ = true; }

 private:
  using Endpoint = boost::asio::awaitable<void> (Api::*)(mesh::HttpExchange&, Access&);
  struct Route {
    const char* method;
    const char* path;
    Endpoint endpoint;
    mesh::HttpResponse (*failure)(const Failure&);  // in the words of the endpoint's API
    bool is_public = false;                         // without a key, too
  };
  static const std::vector<Route>& route_table();

  // Runs an endpoint; answers its failures, logs and counts its outcome.
  boost::asio::awaitable<void> answer(mesh::HttpExchange& exchange, const Route& route);

  // Tokens.
  boost::asio::awaitable<void> chat(mesh::HttpExchange& exchange, Access& access);
  boost::asio::awaitable<void> complete(mesh::HttpExchange& exchange, Access& access);
  boost::asio::awaitable<void> respond(mesh::HttpExchange& exchange, Access& access);
  boost::asio::awaitable<void> message(mesh::HttpExchange& exchange, Access& access);
  // About models and the gateway.
  boost::asio::awaitable<void> list_models(mesh::HttpExchange& exchange, Access& access);
  boost::asio::awaitable<void> describe_model(mesh::HttpExchange& exchange, Access& access);
  boost::asio::awaitable<void> count_tokens(mesh::HttpExchange& exchange, Access& access);
  boost::asio::awaitable<void> tokenize(mesh::HttpExchange& exchange, Access& access);
  boost::asio::awaitable<void> detokenize(mesh::HttpExchange& exchange, Access& access);
  boost::asio::awaitable<void> version(mesh::HttpExchange& exchange, Access& access);
  boost::asio::awaitable<void> describe_api(mesh::HttpExchange& exchange, Access& access);
  boost::asio::awaitable<void> show_docs(mesh::HttpExchange& exchange, Access& access);

  // The model, with the limits of the heads that serve it now. Throws RequestFailed: 404 for one that nobody has, 503
  // for one that nobody serves at the moment.
  boost::asio::awaitable<std::shared_ptr<const ServedModel>> find_model(const std::string& name, PromptLimits& limits,
                                                                        Access& access);
  boost::asio::awaitable<JobContext> job_context(const std::string& model, Access& access);
  [[nodiscard]] Failure missing_model(const std::string& name, const Access& access) const;
  // `named`, or the mesh's only model when it is empty.
  [[nodiscard]] std::string model_or_only(const std::string& named, const Access& access) const;
  [[nodiscard]] std::vector<ModelStatus> models_of(const Access& access) const;  // that the caller may use
  [[nodiscard]] ReplyHead reply_head(const Access& access) const;
  // Throws RequestFailed when there is no room for so many prompts more.
  void check_capacity(size_t prompts) const;

  // Reserves what the job may use of its key's limits. Throws RequestFailed: 429.
  void admit(Access& access, Job& job);
  boost::asio::awaitable<void> generate(mesh::HttpExchange& exchange, Access& access, Job job);
  // Until all are placed, or throws why one is not. A stream that waits in a queue for longer than the keep-alive time
  // begins before, so that its client sees a sign of life.
  boost::asio::awaitable<void> place(mesh::HttpExchange& exchange, Access& access, std::deque<Generation>& generations,
                                     Wakeup& wakeup, bool stream);
  boost::asio::awaitable<void> send_stream(mesh::HttpExchange& exchange, Access& access, ReplyStream& reply,
                                           ReplyFormat& format);
  boost::asio::awaitable<void> write_parts(mesh::HttpExchange& exchange, Access& access, ReplyStream& reply,
                                           ReplyFormat& format);
  boost::asio::awaitable<void> send_whole(mesh::HttpExchange& exchange, Access& access, ReplyStream& reply,
                                          ReplyFormat& format);
  boost::asio::awaitable<void> send_json(mesh::HttpExchange& exchange, const Access& access, std::string body);
  boost::asio::awaitable<void> send(mesh::HttpExchange& exchange, const Access& access, mesh::HttpResponse response);
  void record(Access& access, const mesh::HttpRequest& request);

  GenerationContext& context_;
  ModelCardClient& cards_;
  Gatekeeper& gatekeeper_;
  GatewayMetrics& metrics_;
  mesh::Tracer& tracer_;
  const GatewaySettings& settings_;
  const RequestLimits limits_;
  const std::string gateway_id_;
  bool draining_ = false;
  std::mt19937_64 random_{std::random_device{}()};
  ConstraintChecker constraints_;
};

}  // namespace bellwether::gateway
