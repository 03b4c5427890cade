#include "cli/up/up.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "cli/terminal.h"
#include "cli/up/log_folder.h"
#include "cli/up/mesh_runner.h"
#include "cli/up/plan.h"
#include "cli/up/programs.h"
#include "cli/up/progress.h"
#include "cli/up/readiness.h"
#include "cli/up/settings.h"
#include "mesh/error.h"
#include "mesh/free_port.h"
#include "mesh/log.h"
#include "mesh/process.h"

namespace bellwether::cli {
namespace {

namespace asio = boost::asio;

constexpr int kKilledBySecondSignal = 130;

PlanOptions plan_options(const UpSettings& settings, const std::vector<std::string>& arguments) {
  if (settings.replicas_max != 0 && settings.replicas_max < settings.replicas) {
    throw mesh::Error(mesh::ErrorCode::kInvalidArgument, "is less than --replicas", "--max-replicas");
  }
  if (!settings.common.nats_url.empty() && settings.nats_port != 0) {
    throw mesh::Error(mesh::ErrorCode::kInvalidArgument, "is of no use with --nats-url", "--nats-port");
  }
  if (settings.devices.size() > 1 && settings.replicas_max > settings.replicas) {
    throw mesh::Error(mesh::ErrorCode::kInvalidArgument,
                      "can be given once only with --max-replicas: all replicas of the autoscaler's start alike",
                      "--device");
  }
  const std::string folder = mesh::program_folder();
  const auto replicas = static_cast<int>(settings.replicas);
  const int cpus = static_cast<int>(std::thread::hardware_concurrency());
  PlanOptions options;
  options.programs = find_programs(folder);
  options.model = require_model(settings.model.empty() ? find_demo_model(folder) : settings.model);
  options.replicas = replicas;
  options.replicas_max = std::max(replicas, static_cast<int>(settings.replicas_max));
  options.devices = settings.devices;
  options.ranks = settings.ranks > 0 ? static_cast<int>(settings.ranks) : default_ranks(settings.devices, replicas);
  options.threads =
      settings.threads > 0 ? static_cast<int>(settings.threads) : threads_per_worker(cpus, replicas * options.ranks);
  if (options.ranks > 1 && options.replicas_max == options.replicas) {
    options.head_ports = mesh::free_loopback_ports(replicas);
  }
  options.schedulers = static_cast<int>(settings.schedulers);
  options.http_address = settings.common.http_address;
  options.allow_remote = settings.common.allow_remote;
  options.allow_anonymous = settings.allow_anonymous;
  options.api_keys_file = settings.api_keys_file;
  options.nats_url = settings.common.nats_url;
  options.nats_credentials_file = settings.common.nats_credentials_file;
  options.config_file = config_file(arguments);
  options.log_level = settings.common.log_level;
  options.shutdown_grace_ms = settings.common.shutdown_grace_ms;
  options.restarts = {.wait_max = std::chrono::milliseconds(settings.restart_wait_ms_max),
                      .restarts_max = settings.restarts_max};
  return options;
}

std::string nats_server_program(const UpSettings& settings) {
  if (!settings.common.nats_url.empty()) return {};
  const char* path = std::getenv("PATH");
  return find_nats_server(path == nullptr ? "" : path);
}

void write_out(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

// Each signal that comes: the first stops in order, the second at once.
void listen_for_stop(asio::signal_set& signals, MeshRunner& runner, bool is_second) {
  signals.async_wait([&signals, &runner, is_second](boost::system::error_code error, int) {
    if (error) return;
    if (is_second) {
      runner.kill_children();
      _exit(kKilledBySecondSignal);
    }
    runner.request_stop();
    listen_for_stop(signals, runner, true);
  });
}

void listen_for_children(asio::signal_set& signals, MeshRunner& runner) {
  signals.async_wait([&signals, &runner](boost::system::error_code error, int) {
    if (error) return;
    runner.child_ended();
    listen_for_children(signals, runner);
  });
}

}  // namespace

int run_up(int argc, char** argv) {
  UpSettings settings;
  mesh::Settings declared("bellwether up", "up", "Starts a whole mesh on this machine, ready to answer, until Ctrl-C.");
  settings.declare(declared);
  if (const auto status = declared.parse_main(argc, argv)) return *status;

  mesh::log::configure("up", mesh::log::Level::kError, mesh::log::Format::kAuto);
  std::signal(SIGPIPE, SIG_IGN);
  PlanOptions options = plan_options(settings, {argv + 1, argv + argc});
  std::string nats_server = nats_server_program(settings);
  require_free_address(options.http_address);
  options.log_folder = make_log_folder(settings.log_folder);

  asio::io_context io(1);
  ProgressPrinter printer(inspect_terminal(STDOUT_FILENO), &write_out);
  MeshRunner runner(io, std::move(options), std::move(nats_server), static_cast<int>(settings.nats_port), printer);
  asio::signal_set stop_signals(io, SIGINT, SIGTERM, SIGHUP);
  asio::signal_set child_signals(io, SIGCHLD);
  listen_for_stop(stop_signals, runner, false);
  listen_for_children(child_signals, runner);
  int status = 1;
  asio::co_spawn(io, runner.run(), [&](const std::exception_ptr& error, int ended_with) {
    if (error) std::rethrow_exception(error);
    status = ended_with;
    io.stop();
  });
  io.run();
  return status;
}

}  // namespace bellwether::cli
