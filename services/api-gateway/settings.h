// The gateway's own settings: the limits on what a client may send, hold and wait for.
#pragma once

#include <cstdint>

#include "api-gateway/access/gatekeeper.h"
#include "api-gateway/generation_parameters.h"
#include "mesh/http_server.h"
#include "mesh/settings.h"
#include "text/jinja/budget.h"

namespace bellwether::gateway {

struct GatewaySettings {
  int64_t header_bytes_max = 64 * 1024;
  int64_t body_bytes_max = 32 * 1024 * 1024;
  int64_t bodies_bytes_max = 1024 * 1024 * 1024;
  int64_t connections_max = 4096;
  int64_t idle_ms_max = 75000;
  int64_t request_ms_max = 30000;
  int64_t write_ms_max = 30000;

  int64_t messages_max = 4096;
  int64_t prompts_max = 256;
  int64_t prompt_tokens_max = 1 << 20;  // the model's context is a limit of its own
  int64_t choices_max = 128;
  int64_t streams_max = 4096;

  int64_t template_steps_max = 5'000'000;
  int64_t template_bytes_max = 64 * 1024 * 1024;

  int64_t card_ms_max = 10000;
  int64_t placement_ms_max = 5000;
  int64_t queue_ms_max = 120000;
  int64_t first_token_ms_max = 300000;
  int64_t token_gap_ms_max = 60000;
  int64_t lost_tokens_ms_max = 1000;
  int64_t recovery_ms_max = 30000;
  int64_t recoveries_max = 8;
  int64_t keep_alive_ms = 10000;

  AccessSettings access;

  void declare(mesh::Settings& settings);
  [[nodiscard]] mesh::HttpLimits http_limits() const;
  [[nodiscard]] RequestLimits request_limits() const;
  [[nodiscard]] text::jinja::Limits template_limits() const;
};

}  // namespace bellwether::gateway
