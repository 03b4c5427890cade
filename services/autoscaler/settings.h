// The autoscaler's settings.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "autoscaler/autoscaler.h"
#include "autoscaler/local_supervisor.h"
#include "mesh/service.h"
#include "mesh/settings.h"

namespace bellwether::autoscaler {

struct AutoscalerSettings {
  std::string model_name;  // empty = decisions for every model heard of
  int64_t min_replicas = 1;
  int64_t max_replicas = 8;
  double kv_cache_target = 0.5;
  double tolerance = 0.1;
  int64_t interval_ms = 1000;
  int64_t scale_up_window_ms = 0;
  int64_t scale_down_window_ms = 300000;
  bool supervise = false;
  std::string worker_program;  // empty = bellwether-worker beside this program
  std::vector<std::string> worker_arguments;
  int64_t worker_ranks = 1;
  std::string worker_log_folder;
  int64_t start_timeout_ms = 60000;
};

void declare(mesh::Settings& declared, AutoscalerSettings& settings);

// Throws mesh::Error{kInvalidArgument} naming the flag when settings do not go together.
void validate(const AutoscalerSettings& settings);

[[nodiscard]] AutoscalerOptions options_of(const AutoscalerSettings& settings);

// How a worker is started: on the same bus, with logs like this program's, on ports of its own, then as
// --worker-argument says.
[[nodiscard]] LocalSupervisorOptions supervisor_options(const AutoscalerSettings& settings,
                                                        const mesh::ServiceSettings& common);

}  // namespace bellwether::autoscaler
