// Which processes make up a mesh on one machine: pure functions from options to command lines.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/up/programs.h"
#include "cli/up/restart.h"
#include "mesh/process.h"

namespace bellwether::cli {

// A worker is a head, rank 0 of its replica; the other ranks are followers.
enum class Role { kNats, kScheduler, kAutoscaler, kWorker, kFollower, kGateway };

struct PlannedProcess {
  Role role;
  std::string name;       // "worker-2", "worker-2-rank-1"
  mesh::Command command;  // its log file is <log folder>/<name>.log
};

struct PlanOptions {
  Programs programs;
  std::string model;  // directory
  int replicas = 1;
  int replicas_max = 1;  // > replicas: the autoscaler starts and stops them, all of them
  int ranks = 1;         // of each replica, a process each
  int threads = 1;       // of each process
  // What the processes compute on, each the next of them; empty = what they take by themselves. One at most with
  // autoscaling.
  std::vector<std::string> devices = {};
  int schedulers = 1;
  // Where the head of each replica is reached by its followers; only with several ranks and without autoscaling.
  std::vector<uint16_t> head_ports = {};
  std::string http_address;      // of the gateway
  bool allow_remote = false;     // other machines may reach it ...
  bool allow_anonymous = false;  // ... without keys
  std::string api_keys_file;     // empty = none
  std::string nats_url;
  std::string nats_credentials_file;  // empty = none
  std::string config_file;            // empty = none
  std::string log_level = "info";
  int64_t shutdown_grace_ms = 30000;
  std::string log_folder;
  RestartLimits restarts = {};
};

// What clients call the model: the name of its folder.
[[nodiscard]] std::string model_name(const PlanOptions& options);

// Port 0 takes a free one; the server then says which in a file in the log folder (see read_nats_ports).
[[nodiscard]] PlannedProcess plan_nats_server(const std::string& program, int port, const std::string& log_folder);

// The services, in the order in which they are started.
[[nodiscard]] std::vector<PlannedProcess> plan_services(const PlanOptions& options);

// The order in which a mesh is taken down: each stage has ended before the next is told to. The gateway goes first, so
// that its clients get their answers while everything they need still runs; heads go before their followers, whom they
// need to finish and take with them; the bus goes last. `supervised`: the
// autoscaler's workers are its children and go with it.
[[nodiscard]] std::vector<std::vector<Role>> stop_stages(bool supervised);

// Ranks of a replica for whom nobody has chosen: two processes on CPUs, a process for each GPU.
[[nodiscard]] int default_ranks(const std::vector<std::string>& devices, int replicas);

// The CPUs shared among the processes, at least one each.
[[nodiscard]] int threads_per_worker(int cpus, int processes);

}  // namespace bellwether::cli
