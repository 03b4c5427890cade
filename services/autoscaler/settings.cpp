#include "autoscaler/settings.h"

#include "mesh/error.h"
#include "mesh/process.h"

namespace bellwether::autoscaler {
namespace {

constexpr double kReplicasLimit = 4096;
constexpr double kRanksMax = 64;
constexpr double kWindowMsMax = 3600000;

void declare_policy(mesh::Settings& declared, AutoscalerSettings& settings) {
  declared.add("min-replicas", &settings.min_replicas,
               {.sentence = "Replicas there are at least", .unit = "replicas", .min = 0, .max = kReplicasLimit});
  declared.add("max-replicas", &settings.max_replicas,
               {.sentence = "Replicas there are at most", .unit = "replicas", .min = 1, .max = kReplicasLimit});
  declared.add("kv-cache-target", &settings.kv_cache_target,
               {.sentence = "Mean KV-cache use that scaling aims at, 1 = full", .min = 0.01, .max = 1});
  declared.add("tolerance", &settings.tolerance,
               {.sentence = "How far from the target use may be, as a share of it, before anything changes",
                .min = 0,
                .max = 0.9});
  declared.add("interval-ms", &settings.interval_ms,
               {.sentence = "Time between two decisions", .unit = "ms", .min = 100, .max = 600000});
  declared.add("scale-up-window-ms", &settings.scale_up_window_ms,
               {.sentence = "More replicas must have been wanted for so long before they are started",
                .unit = "ms",
                .min = 0,
                .max = kWindowMsMax});
  declared.add("scale-down-window-ms", &settings.scale_down_window_ms,
               {.sentence = "Fewer replicas must have been wanted for so long before any is stopped",
                .unit = "ms",
                .min = 0,
                .max = kWindowMsMax});
}

}  // namespace

void declare(mesh::Settings& declared, AutoscalerSettings& settings) {
  declared.add("model-name", &settings.model_name,
               {.sentence = "The one model to decide about; empty = every model that a head serves"});
  declare_policy(declared, settings);
  declared.add("supervise", &settings.supervise,
               {.sentence = "Start and stop workers on this machine to follow the decisions; needs --model-name"});
  declared.add("worker-program", &settings.worker_program,
               {.sentence = "Program of a worker; empty = bellwether-worker beside this program"});
  declared.add("worker-argument", &settings.worker_arguments, {.sentence = "An argument passed on to every worker"});
  declared.add("worker-ranks", &settings.worker_ranks,
               {.sentence = "Workers that make up one replica", .min = 1, .max = kRanksMax});
  declared.add("worker-log-folder", &settings.worker_log_folder,
               {.sentence = "Folder for one log file a worker; empty = they write to this program's output"});
  declared.add("start-timeout-ms", &settings.start_timeout_ms,
               {.sentence = "How long a started worker may take until it is heard on the bus",
                .unit = "ms",
                .min = 100,
                .max = 3600000});
}

void validate(const AutoscalerSettings& settings) {
  if (settings.min_replicas > settings.max_replicas) {
    throw mesh::Error(mesh::ErrorCode::kInvalidArgument, "must not be above --max-replicas", "--min-replicas");
  }
  if (settings.supervise && settings.model_name.empty()) {
    throw mesh::Error(mesh::ErrorCode::kInvalidArgument, "is needed with --supervise", "--model-name");
  }
}

AutoscalerOptions options_of(const AutoscalerSettings& settings) {
  return {
      .model = settings.model_name,
      .policy =
          {
              .replicas_min = static_cast<uint32_t>(settings.min_replicas),
              .replicas_max = static_cast<uint32_t>(settings.max_replicas),
              .kv_use_target = settings.kv_cache_target,
              .tolerance = settings.tolerance,
              .scale_up_window = std::chrono::milliseconds(settings.scale_up_window_ms),
              .scale_down_window = std::chrono::milliseconds(settings.scale_down_window_ms),
          },
      .interval = std::chrono::milliseconds(settings.interval_ms),
  };
}

LocalSupervisorOptions supervisor_options(const AutoscalerSettings& settings, const mesh::ServiceSettings& common) {
  const std::string program =
      settings.worker_program.empty() ? mesh::program_folder() + "/bellwether-worker" : settings.worker_program;
  LocalSupervisorOptions options;
  options.command = {program,       "--served-model-name", settings.model_name, "--nats-url",      common.nats_url,
                     "--log-level", common.log_level,      "--log-format",      common.log_format, "--http",
                     "127.0.0.1:0"};
  if (!common.nats_credentials_file.empty()) {
    options.command.insert(options.command.end(), {"--nats-credentials-file", common.nats_credentials_file});
  }
  options.command.insert(options.command.end(), settings.worker_arguments.begin(), settings.worker_arguments.end());
  options.ranks = static_cast<int>(settings.worker_ranks);
  options.log_folder = settings.worker_log_folder;
  options.start_timeout = std::chrono::milliseconds(settings.start_timeout_ms);
  options.stop_timeout = std::chrono::milliseconds(common.shutdown_grace_ms);
  return options;
}

}  // namespace bellwether::autoscaler
