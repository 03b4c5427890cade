#include "cli/up/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <utility>

namespace bellwether::cli {
namespace {

// Services other than the gateway serve /metrics, /health and /ready wherever there is room; the bus and the logs say
// where.
constexpr const char* kAnyAddress = "127.0.0.1:0";

PlannedProcess make_process(Role role, std::string name, std::vector<std::string> arguments,
                            const std::string& log_folder) {
  std::string log_file = fmt::format("{}/{}.log", log_folder, name);
  return {role, std::move(name), mesh::Command{std::move(arguments), std::move(log_file)}};
}

std::string flag(std::string_view name, const auto& value) {
  return fmt::format("--{}={}", name, value);
}

void append(std::vector<std::string>& to, const std::vector<std::string>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

// What every service is told. Flags come before the environment and the file, so that neither can pull one service away
// from the others.
std::vector<std::string> common_flags(const PlanOptions& options, const std::string& http_address,
                                      const std::string& grpc_address) {
  std::vector<std::string> flags;
  if (!options.config_file.empty()) flags.push_back(flag("config", options.config_file));
  append(flags, {flag("nats-url", options.nats_url), flag("log-level", options.log_level), flag("log-format", "json"),
                 flag("http", http_address), flag("grpc", grpc_address),
                 flag("shutdown-grace-ms", options.shutdown_grace_ms)});
  if (!options.nats_credentials_file.empty()) {
    flags.push_back(flag("nats-credentials-file", options.nats_credentials_file));
  }
  return flags;
}

// `process`: the worker's number among all ranks of all replicas, from 0.
std::vector<std::string> worker_flags(const PlanOptions& options, size_t process) {
  std::vector<std::string> flags = {flag("model", options.model), flag("threads", options.threads)};
  if (!options.devices.empty()) flags.push_back(flag("device", options.devices[process % options.devices.size()]));
  return flags;
}

PlannedProcess plan_service(const PlanOptions& options, Role role, std::string name, const std::string& program,
                            const std::vector<std::string>& own_flags, const std::string& grpc_address = kAnyAddress) {
  std::vector<std::string> arguments = {program};
  append(arguments, common_flags(options, role == Role::kGateway ? options.http_address : kAnyAddress, grpc_address));
  append(arguments, own_flags);
  return make_process(role, std::move(name), std::move(arguments), options.log_folder);
}

PlannedProcess plan_gateway(const PlanOptions& options) {
  std::vector<std::string> flags;
  if (options.allow_remote) flags.emplace_back("--allow-remote");
  if (options.allow_anonymous) flags.emplace_back("--allow-anonymous");
  if (!options.api_keys_file.empty()) flags.push_back(flag("api-keys-file", options.api_keys_file));
  return plan_service(options, Role::kGateway, "api-gateway", options.programs.api_gateway, flags);
}

// The ranks of replica number `replica`, from 1: the head listens where its followers look for it.
void plan_replica(const PlanOptions& options, int replica, std::vector<PlannedProcess>& planned) {
  std::string name = fmt::format("worker-{}", replica);
  const std::string& program = options.programs.worker;
  const auto first = static_cast<size_t>((replica - 1) * options.ranks);
  if (options.ranks == 1) {
    planned.push_back(plan_service(options, Role::kWorker, std::move(name), program, worker_flags(options, first)));
    return;
  }
  const std::string head = fmt::format("127.0.0.1:{}", options.head_ports.at(static_cast<size_t>(replica - 1)));
  for (int rank = 0; rank < options.ranks; ++rank) {
    std::vector<std::string> flags = worker_flags(options, first + static_cast<size_t>(rank));
    append(flags, {flag("ranks", options.ranks), flag("rank", rank)});
    if (rank > 0) flags.push_back(flag("head", head));
    planned.push_back(plan_service(options, rank == 0 ? Role::kWorker : Role::kFollower,
                                   fmt::format("{}-rank-{}", name, rank), program, flags,
                                   rank == 0 ? head : kAnyAddress));
  }
}

// Every worker of the autoscaler's is told the bus, the logs' form and the model's name by the autoscaler itself.
std::vector<std::string> supervised_worker_flags(const PlanOptions& options) {
  std::vector<std::string> flags = worker_flags(options, 0);
  flags.push_back(flag("shutdown-grace-ms", options.shutdown_grace_ms));
  if (!options.config_file.empty()) flags.push_back(flag("config", options.config_file));
  return flags;
}

std::vector<std::string> autoscaler_flags(const PlanOptions& options) {
  std::vector<std::string> flags = {flag("min-replicas", options.replicas),
                                    flag("max-replicas", std::max(1, options.replicas_max))};
  if (options.replicas_max <= options.replicas) return flags;
  append(flags, {"--supervise", flag("model-name", model_name(options)), flag("worker-ranks", options.ranks),
                 flag("worker-program", options.programs.worker), flag("worker-log-folder", options.log_folder)});
  for (const std::string& argument : supervised_worker_flags(options)) {
    flags.push_back(flag("worker-argument", argument));
  }
  return flags;
}

}  // namespace

std::string model_name(const PlanOptions& options) {
  return std::filesystem::path(options.model).filename().string();
}

PlannedProcess plan_nats_server(const std::string& program, int port, const std::string& log_folder) {
  const std::string port_argument = port == 0 ? "-1" : fmt::to_string(port);
  return make_process(Role::kNats, "nats-server",
                      {program, "-a", "127.0.0.1", "-p", port_argument, "--ports_file_dir", log_folder}, log_folder);
}

std::vector<PlannedProcess> plan_services(const PlanOptions& options) {
  const Programs& programs = options.programs;
  std::vector<PlannedProcess> planned;
  for (int scheduler = 1; scheduler <= options.schedulers; ++scheduler) {
    std::string name = options.schedulers == 1 ? "scheduler" : fmt::format("scheduler-{}", scheduler);
    planned.push_back(plan_service(options, Role::kScheduler, std::move(name), programs.scheduler, {}));
  }
  planned.push_back(
      plan_service(options, Role::kAutoscaler, "autoscaler", programs.autoscaler, autoscaler_flags(options)));
  planned.push_back(plan_gateway(options));
  const int own_workers = options.replicas_max > options.replicas ? 0 : options.replicas;
  for (int replica = 1; replica <= own_workers; ++replica) plan_replica(options, replica, planned);
  return planned;
}

std::vector<std::vector<Role>> stop_stages(bool supervised) {
  if (supervised) return {{Role::kGateway}, {Role::kAutoscaler}, {Role::kScheduler}, {Role::kNats}};
  return {{Role::kGateway}, {Role::kWorker}, {Role::kFollower}, {Role::kScheduler}, {Role::kAutoscaler}, {Role::kNats}};
}

int default_ranks(const std::vector<std::string>& devices, int replicas) {
  constexpr int kRanksOnCpus = 2;
  const auto gpus =
      std::ranges::count_if(devices, [](const std::string& device) { return device.starts_with("cuda:"); });
  if (gpus == 0) return kRanksOnCpus;
  return std::max(1, static_cast<int>(gpus) / std::max(1, replicas));
}

int threads_per_worker(int cpus, int processes) {
  return std::max(1, cpus / std::max(1, processes));
}

}  // namespace bellwether::cli
