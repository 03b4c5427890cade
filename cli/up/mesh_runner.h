// The life of a mesh on this machine: start, ready, watch, stop.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "cli/replica_book.h"
#include "cli/run_file.h"
#include "cli/up/children.h"
#include "cli/up/plan.h"
#include "cli/up/progress.h"
#include "cli/up/service_watch.h"
#include "mesh/bus.h"
#include "mesh/clock.h"

namespace bellwether::cli {

// Lives on the main thread, which `io` runs on.
class MeshRunner {
 public:
  // `nats_server`: the program to start; empty when options.nats_url names a server that runs already.
  MeshRunner(boost::asio::io_context& io, PlanOptions options, std::string nats_server, int nats_port,
             ProgressPrinter& printer);

  // Until request_stop() or a failure, which is printed. No child is left when it returns the exit status.
  boost::asio::awaitable<int> run();

  void request_stop();
  void child_ended();  // SIGCHLD came
  void kill_children();

 private:
  boost::asio::awaitable<void> start();
  boost::asio::awaitable<void> start_nats_server();
  void connect_bus();
  void start_child(const PlannedProcess& planned);
  boost::asio::awaitable<void> wait_until_ready();
  boost::asio::awaitable<bool> is_ready();
  void hear(const v1::ReplicaState& state);
  void learn_gateway_address();
  void write_run_file();
  void require_all_running();
  boost::asio::awaitable<void> watch();
  boost::asio::awaitable<void> stop();
  boost::asio::awaitable<void> stop_stage(const std::vector<Role>& stage);

  void wake();
  // Until something happened, at most until `deadline`.
  boost::asio::awaitable<void> wait(mesh::TimePoint deadline);

  boost::asio::io_context& io_;
  PlanOptions options_;
  std::string nats_server_;
  int nats_port_;
  ProgressPrinter& printer_;
  uint64_t started_unix_ms_;
  std::string model_name_;
  ServiceWatch services_;
  std::string http_url_;  // empty until the gateway has said where it listens
  ReplicaBook book_;
  Children children_;
  std::optional<mesh::Bus> bus_;
  mesh::Subscription states_;
  std::optional<RunFile> run_file_;
  boost::asio::steady_timer wake_timer_;
  bool woken_ = false;
  bool stop_requested_ = false;
};

}  // namespace bellwether::cli
