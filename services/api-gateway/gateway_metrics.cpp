#include "api-gateway/gateway_metrics.h"

namespace bellwether::gateway {

namespace {

// Those of vLLM's histograms of the same meaning, so that dashboards compare.
const prometheus::Histogram::BucketBoundaries kFirstTokenSeconds = {
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560};
const prometheus::Histogram::BucketBoundaries kTokenGapSeconds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
                                                                  0.15,  0.2,    0.3,   0.4,  0.5,   0.75, 1,     2.5,
                                                                  5,     7.5,    10,    20,   40,    80};
const prometheus::Histogram::BucketBoundaries kRequestSeconds = {
    0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
const prometheus::Histogram::BucketBoundaries kTokens = {1,    2,    5,     10,    20,    50,     100,    200,    500,
                                                         1000, 2000, 5000,  10000, 20000, 50000,  100000, 200000, 500000,
                                                         1000000};

prometheus::Family<prometheus::Counter>& counter(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

prometheus::Family<prometheus::Histogram>& histogram(prometheus::Registry& registry, const char* name,
                                                     const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

}  // namespace

GatewayMetrics::GatewayMetrics(prometheus::Registry& registry)
    : requests_(counter(registry, "bellwether_gateway_requests_total", "Requests answered")),
      rejections_(
          counter(registry, "bellwether_gateway_rejections_total", "Requests answered with an error before any token")),
      interruptions_(counter(registry, "bellwether_gateway_interruptions_total",
                             "Requests that failed after a replica had taken them")),
      recoveries_(counter(registry, "bellwether_gateway_recoveries_total",
                          "Times that a request went on elsewhere, because its replica was lost")),
      time_to_first_token_(histogram(registry, "bellwether_gateway_time_to_first_token_seconds",
                                     "From a request's arrival to its first token")),
      time_between_tokens_(histogram(registry, "bellwether_gateway_time_between_tokens_seconds",
                                     "Between two arrivals of tokens of one request")),
      request_time_(histogram(registry, "bellwether_gateway_request_seconds",
                              "From a request's arrival to the end of its answer, by the status that it got")),
      request_prompt_tokens_(histogram(registry, "bellwether_gateway_request_prompt_tokens",
                                       "Prompt tokens of a request that a replica took, by the status that it got")),
      request_completion_tokens_(histogram(registry, "bellwether_gateway_request_completion_tokens",
                                           "Tokens generated for a request, by the status that it got")),
      prompt_tokens_(counter(registry, "bellwether_gateway_prompt_tokens_total", "Prompt tokens of answered requests")),
      completion_tokens_(
          counter(registry, "bellwether_gateway_completion_tokens_total", "Tokens generated for clients")),
      clients_gone_(
          counter(registry, "bellwether_gateway_clients_gone_total", "Clients that left before the end of their answer")
              .Add({})),
      streams_in_flight_(prometheus::BuildGauge()
                             .Name("bellwether_gateway_streams_in_flight")
                             .Help("Requests being generated, streamed or not")
                             .Register(registry)
                             .Add({})) {}

ModelMetrics& GatewayMetrics::model(const std::string& model) {
  const auto found = models_.find(model);
  if (found != models_.end()) return found->second;
  const prometheus::Labels labels{{"model", model}};
  const ModelMetrics metrics{
      time_to_first_token_.Add(labels, kFirstTokenSeconds), time_between_tokens_.Add(labels, kTokenGapSeconds),
      prompt_tokens_.Add(labels), completion_tokens_.Add(labels)};
  return models_.emplace(model, metrics).first->second;
}

void GatewayMetrics::count_request(std::string_view endpoint, const std::string& model, unsigned status) {
  requests_.Add({{"endpoint", std::string(endpoint)}, {"model", model}, {"status", std::to_string(status)}})
      .Increment();
}

void GatewayMetrics::observe_request(const std::string& model, unsigned status, double seconds,
                                     std::optional<RequestTokens> tokens) {
  const prometheus::Labels labels{{"model", model}, {"status", std::to_string(status)}};
  request_time_.Add(labels, kRequestSeconds).Observe(seconds);
  if (!tokens) return;
  request_prompt_tokens_.Add(labels, kTokens).Observe(tokens->prompt);
  request_completion_tokens_.Add(labels, kTokens).Observe(tokens->completion);
}

void GatewayMetrics::count_rejection(const std::string& reason) {
  rejections_.Add({{"reason", reason}}).Increment();
}

void GatewayMetrics::count_interruption(const std::string& reason) {
  interruptions_.Add({{"reason", reason}}).Increment();
}

void GatewayMetrics::count_recovery(const std::string& reason) {
  recoveries_.Add({{"reason", reason}}).Increment();
}

void GatewayMetrics::count_client_gone() {
  clients_gone_.Increment();
}

}  // namespace bellwether::gateway
