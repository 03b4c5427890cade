// What can be set of a scheduler.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "mesh/settings.h"
#include "scheduler/placement.h"
#include "scheduler/placer.h"
#include "scheduler/request_queue.h"

namespace bellwether::scheduler {

struct SchedulerSettings {
  int64_t work_timeout_ms = 500;  // for a head to take or refuse a request
  std::string strategy = std::string(kStrategyDefault);
  std::vector<std::string> model_strategies = {};  // MODEL=STRATEGY
  int64_t kv_index_blocks_max = 1 << 23;
  int64_t slow_start_ms = 10000;
  int64_t head_stall_ms = 10000;
  int64_t canary_after_idle_ms = 60000;
  int64_t canary_timeout_ms = 5000;
  int64_t head_waiting_max = 8;
  int64_t queue_requests_max = 1024;
  int64_t queue_requests_max_of_tenant = 512;
  int64_t queue_mib_max = 256;
  int64_t queue_wait_ms_max = 60000;
};

void declare(mesh::Settings& declared, SchedulerSettings& settings);

// By model. Throws mesh::Error{kInvalidArgument} that names the setting and the strategies there are.
[[nodiscard]] std::map<std::string, Strategy> model_strategies(const SchedulerSettings& settings);

[[nodiscard]] PlacerOptions placer_options(const std::string& scheduler_id, const SchedulerSettings& settings);
[[nodiscard]] QueueOptions queue_options(const SchedulerSettings& settings);

}  // namespace bellwether::scheduler
