// The gateway's metrics: bellwether_gateway_*.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "mesh/metrics.h"

namespace bellwether::gateway {

// Of one model.
struct ModelMetrics {
  prometheus::Histogram& time_to_first_token;
  prometheus::Histogram& time_between_tokens;
  prometheus::Counter& prompt_tokens;
  prometheus::Counter& completion_tokens;
};

struct RequestTokens {
  uint32_t prompt = 0;
  uint32_t completion = 0;
};

// Labels are bounded: models are those that the mesh announced (others count under ""), endpoints, statuses and
// reasons are the gateway's own words.
class GatewayMetrics {
 public:
  // REQUIRES: `registry` outlives this.
  explicit GatewayMetrics(prometheus::Registry& registry);

  [[nodiscard]] ModelMetrics& model(const std::string& model);  // REQUIRES: a model of the mesh
  void count_request(std::string_view endpoint, const std::string& model, unsigned status);
  // `tokens`: nothing for a request that no replica took. REQUIRES: a model of the mesh.
  void observe_request(const std::string& model, unsigned status, double seconds, std::optional<RequestTokens> tokens);
  void count_rejection(const std::string& reason);     // answered with an error instead of tokens
  void count_interruption(const std::string& reason);  // failed after tokens were promised
  void count_recovery(const std::string& reason);      // carried on after its head was lost
  void count_client_gone();
  prometheus::Gauge& streams_in_flight() { return streams_in_flight_; }

 private:
  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Counter>& rejections_;
  prometheus::Family<prometheus::Counter>& interruptions_;
  prometheus::Family<prometheus::Counter>& recoveries_;
  prometheus::Family<prometheus::Histogram>& time_to_first_token_;
  prometheus::Family<prometheus::Histogram>& time_between_tokens_;
  prometheus::Family<prometheus::Histogram>& request_time_;
  prometheus::Family<prometheus::Histogram>& request_prompt_tokens_;
  prometheus::Family<prometheus::Histogram>& request_completion_tokens_;
  prometheus::Family<prometheus::Counter>& prompt_tokens_;
  prometheus::Family<prometheus::Counter>& completion_tokens_;
  prometheus::Counter& clients_gone_;
  prometheus::Gauge& streams_in_flight_;
  std::map<std::string, ModelMetrics, std::less<>> models_;
};

}  // namespace bellwether::gateway
