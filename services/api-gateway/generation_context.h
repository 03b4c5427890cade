// What generations stand on.
#pragma once

#include <chrono>
#include <cstdint>

#include <boost/asio/any_io_executor.hpp>

#include "api-gateway/gateway_metrics.h"
#include "api-gateway/model_directory.h"
#include "api-gateway/stream_table.h"
#include "mesh/bus.h"

namespace bellwether::gateway {

struct GenerationLimits {
  std::chrono::milliseconds placement_time_max;
  std::chrono::milliseconds queue_time_max;        // in the schedulers' queues
  std::chrono::milliseconds first_token_time_max;  // since the request was placed
  std::chrono::milliseconds token_gap_time_max;
  std::chrono::milliseconds lost_tokens_time_max;  // for the head to send them again
  std::chrono::milliseconds recovery_time_max;     // for another head to take over
  int64_t recoveries_max;                          // of one request
};

// REQUIRES: all of it outlives the generations.
struct GenerationContext {
  boost::asio::any_io_executor executor;
  mesh::Bus& bus;
  StreamTable& streams;
  ModelDirectory& directory;
  GatewayMetrics& metrics;
  GenerationLimits limits;
  size_t submissions = 0;  // under way in the background
};

}  // namespace bellwether::gateway
