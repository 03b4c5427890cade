// The life that all services share: settings, logs, bus, /metrics, /health and /ready, gRPC health, shutdown on
// SIGTERM.
//
//   int main(int argc, char** argv) {
//     SchedulerSettings settings;
//     Settings declared("bellwether-scheduler", "scheduler", "Decides which replica gets which request.");
//     declare(declared, settings);                       // the service's own
//     ServiceSettings common;  common.declare(declared); // the shared ones
//     if (auto status = declared.parse_main(argc, argv)) return *status;
//     return run_service("scheduler", common, [&](Service& service) { return std::make_unique<Scheduler>(service,
//     settings); });
//   }
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "mesh/bus.h"
#include "mesh/http_server.h"
#include "mesh/metrics.h"
#include "mesh/settings.h"
#include "mesh/trace.h"

namespace grpc {
class Service;
}

namespace bellwether::mesh {

struct ServiceSettings {
  std::string nats_url = "nats://127.0.0.1:4222";
  std::string nats_credentials_file;
  std::string log_level = "info";            // debug, info, warning, error
  std::string log_format = "auto";           // auto, text, json
  std::string http_address = "127.0.0.1:0";  // /metrics, /health, /ready and, of the gateway, the API
  std::string grpc_address = "127.0.0.1:0";  // grpc.health.v1.Health and the component's; empty = off
  bool allow_remote = false;                 // take connections from other machines at these two addresses
  int64_t shutdown_grace_ms = 30000;         // for work in progress after SIGTERM
  std::string otlp_endpoint;                 // http://HOST:PORT of a collector of traces; empty = no traces
  double trace_ratio = 1;                    // of the requests that come without a trace
  int64_t trace_spans_max = 8192;            // finished and not yet sent
  bool uses_bus = true;                      // no setting: a service that is not on the bus needs none to run
  HttpLimits http_limits;                    // the gateway declares settings for these itself

  void declare(Settings& settings);
};

// What a component stands on. Everything here lives on one thread, the one that run_service() was called on.
class Service {
 public:
  Service(std::string name, ServiceSettings settings);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  [[nodiscard]] const std::string& name() const;
  [[nodiscard]] boost::asio::io_context& io();
  [[nodiscard]] Bus& bus();                        // REQUIRES: settings.uses_bus
  [[nodiscard]] HttpServer& http();                // routes may be added until the component's constructor returns
  [[nodiscard]] prometheus::Registry& registry();  // rendered on /metrics
  [[nodiscard]] Tracer& tracer();                  // records nothing unless there is a collector
  [[nodiscard]] const std::string& http_address() const;  // HOST:PORT bound, port 0 resolved, from construction on
  // The same once the component has been constructed, which is when gRPC starts; "" when off.
  [[nodiscard]] const std::string& grpc_address() const;
  // Until the component's constructor returns. Throws Error{kInvalidArgument} where gRPC is off.
  void add_grpc_service(std::shared_ptr<grpc::Service> service);
  [[nodiscard]] std::chrono::milliseconds shutdown_grace() const;

  // /ready answers 200 and gRPC health SERVING while ready and the bus is connected; 503 and NOT_SERVING otherwise.
  // False at start and from the beginning of the shutdown on. `why_not`: for whoever asks /ready meanwhile. (/health
  // answers 200 as long as the process does at all: who is not ready need not be restarted.)
  void set_ready(bool ready, std::string why_not = "not ready");

  // Begins the shutdown, as SIGTERM does; the process exits with `status`. The first call counts. Callable from any
  // thread.
  void shut_down(int status = 0);

 private:
  friend int run_service(const std::string&, const ServiceSettings&,
                         const std::function<std::unique_ptr<class Component>(Service&)>&);
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// What a service adds: its constructor wires routes and subscriptions, stop() unwires them.
class Component {
 public:
  virtual ~Component() = default;
  // Called once after SIGTERM or SIGINT: finish or hand over what is in progress, within Service::shutdown_grace().
  virtual boost::asio::awaitable<void> stop() = 0;
};

// Runs until SIGTERM, SIGINT or shut_down(): not ready, component stop(), HTTP server stop (with what is left of the
// grace), traces sent, bus stop, component destroyed, in that order. A second signal ends the process at once with 130;
// before the component exists the first one ends it, too. Returns the exit status: 0 or what shut_down() was given, or
// 1 after logging why it could not start. Call it once, from the main thread.
//
// /metrics has, beside the component's families, bellwether_build_info, bellwether_ready, bellwether_http_connections,
// bellwether_bus_* and bellwether_trace_spans_*.
int run_service(const std::string& name, const ServiceSettings& settings,
                const std::function<std::unique_ptr<Component>(Service&)>& make_component);

}  // namespace bellwether::mesh
