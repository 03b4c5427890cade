#include "scheduler/settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <random>

#include "mesh/error.h"

namespace bellwether::scheduler {
namespace {

constexpr const char* kModelStrategies = "model-strategies";
constexpr double kHourMs = 3600000;

void declare_placement(mesh::Settings& declared, SchedulerSettings& settings) {
  declared.add("work-timeout-ms", &settings.work_timeout_ms,
               {.sentence = "How long a head may take to accept or refuse a request before the next one is tried",
                .unit = "ms",
                .min = 1,
                .max = 60000});
  declared.add("strategy", &settings.strategy,
               {.sentence = "How a head is chosen for requests that do not say it", .choices = strategy_names()});
  declared.add(kModelStrategies, &settings.model_strategies,
               {.sentence = "MODEL=STRATEGY, for models that have another one"});
  declared.add("kv-index-blocks-max", &settings.kv_index_blocks_max,
               {.sentence = "Blocks of the heads' caches that are kept in mind, each in 22 to 43 bytes",
                .unit = "blocks",
                .min = 1,
                .max = 1 << 28});
  declared.add("slow-start-ms", &settings.slow_start_ms,
               {.sentence = "A replica that has just become ready gets its full share of requests after so long",
                .unit = "ms",
                .min = 0,
                .max = kHourMs});
}

void declare_health(mesh::Settings& declared, SchedulerSettings& settings) {
  declared.add("head-stall-ms", &settings.head_stall_ms,
               {.sentence = "A head that has work and computes no step for longer gets no more requests until it has "
                            "answered a canary, a request of one token; 0 = no limit",
                .unit = "ms",
                .min = 0,
                .max = kHourMs});
  declared.add("canary-after-idle-ms", &settings.canary_after_idle_ms,
               {.sentence = "A head that has had nothing to do for so long is tried with a canary; 0 = never",
                .unit = "ms",
                .min = 0,
                .max = kHourMs});
  declared.add("canary-timeout-ms", &settings.canary_timeout_ms,
               {.sentence = "How long a canary's token may take", .unit = "ms", .min = 1, .max = kHourMs});
}

void declare_queue(mesh::Settings& declared, SchedulerSettings& settings) {
  declared.add("head-waiting-max", &settings.head_waiting_max,
               {.sentence = "Requests that a head is given beyond those that it can run at once, so that it never runs "
                            "dry; the others wait here, where they can still go elsewhere",
                .min = 0,
                .max = 65536});
  declared.add("queue-requests-max", &settings.queue_requests_max,
               {.sentence = "Requests that wait while every head is full or loading; beyond it they are refused",
                .min = 0,
                .max = 65536});
  declared.add("queue-requests-max-of-tenant", &settings.queue_requests_max_of_tenant,
               {.sentence = "Requests of one tenant among those", .min = 0, .max = 65536});
  declared.add("queue-mib-max", &settings.queue_mib_max,
               {.sentence = "Memory that waiting requests may take", .unit = "MiB", .min = 1, .max = 65536});
  declared.add("queue-wait-ms-max", &settings.queue_wait_ms_max,
               {.sentence = "How long a request may wait in a scheduler's queue before it is refused, if it has no "
                            "shorter deadline of its own",
                .unit = "ms",
                .min = 0,
                .max = kHourMs});
}

}  // namespace

void declare(mesh::Settings& declared, SchedulerSettings& settings) {
  declare_placement(declared, settings);
  declare_health(declared, settings);
  declare_queue(declared, settings);
}

std::map<std::string, Strategy> model_strategies(const SchedulerSettings& settings) {
  std::map<std::string, Strategy> strategies;
  for (const std::string& each : settings.model_strategies) {
    const size_t equals = each.rfind('=');
    const auto strategy = equals == std::string::npos ? std::nullopt : find_strategy(each.substr(equals + 1));
    if (!strategy || equals == 0) {
      throw mesh::Error(mesh::ErrorCode::kInvalidArgument,
                        fmt::format("--{}: '{}' is not MODEL=STRATEGY with one of {}", kModelStrategies, each,
                                    fmt::join(strategy_names(), ", ")),
                        kModelStrategies);
    }
    strategies[each.substr(0, equals)] = *strategy;
  }
  return strategies;
}

PlacerOptions placer_options(const std::string& scheduler_id, const SchedulerSettings& settings) {
  PlacerOptions options;
  options.scheduler_id = scheduler_id;
  options.kv_index_blocks_max = static_cast<size_t>(settings.kv_index_blocks_max);
  options.slow_start = std::chrono::milliseconds(settings.slow_start_ms);
  // Without a queue the heads' own is all there is.
  if (settings.queue_requests_max > 0) options.head_waiting_max = static_cast<uint64_t>(settings.head_waiting_max);
  options.random_seed = std::random_device()();
  return options;
}

QueueOptions queue_options(const SchedulerSettings& settings) {
  return {.requests_max = static_cast<size_t>(settings.queue_requests_max),
          .requests_max_of_tenant = static_cast<size_t>(settings.queue_requests_max_of_tenant),
          .bytes_max = static_cast<size_t>(settings.queue_mib_max) << 20};
}

}  // namespace bellwether::scheduler
