#include "mesh/service.h"

#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <random>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "mesh/address.h"
#include "mesh/clock.h"
#include "mesh/error.h"
#include "mesh/grpc_server.h"
#include "mesh/ids.h"
#include "mesh/log.h"
#include "mesh/trace_exporter.h"

namespace bellwether::mesh {
namespace asio = boost::asio;
namespace {

constexpr std::chrono::milliseconds kReadinessInterval{200};  // how soon a lost bus shows in gRPC health
constexpr std::chrono::milliseconds kBusStopTimeMax{2000};
constexpr std::chrono::milliseconds kGrpcStopTimeMax{500};
constexpr std::chrono::milliseconds kTracesStopTimeMax{1000};
// Beyond the grace: for the component, HTTP and the bus to end. After it the process ends without them.
constexpr std::chrono::milliseconds kShutdownTimeExtra{10000};
constexpr int kStatusCutShort = 1;
constexpr int kStatusSecondSignal = 130;

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);

log::Level log_level(const std::string& name) {
  if (name == "debug") return log::Level::kDebug;
  if (name == "warning") return log::Level::kWarning;
  if (name == "error") return log::Level::kError;
  return log::Level::kInfo;
}

log::Format log_format(const std::string& name) {
  if (name == "text") return log::Format::kText;
  if (name == "json") return log::Format::kJson;
  return log::Format::kAuto;
}

// Nothing here authenticates its callers by default, so that being reachable from other machines is a decision.
void require_loopback(const ServiceSettings& settings, const std::string& address, const std::string& flag) {
  if (settings.allow_remote || address.empty() || is_loopback(parse_address(address))) return;
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("{} {} can be reached from other machines: set --allow-remote to allow that", flag, address),
              flag);
}

BusOptions bus_options(const std::string& name, const ServiceSettings& settings) {
  BusOptions options;
  options.url = settings.nats_url;
  options.client_name = name;
  options.credentials_file = settings.nats_credentials_file;
  return options;
}

std::unique_ptr<Bus> connect_bus(asio::io_context& io, const std::string& name, const ServiceSettings& settings) {
  try {
    return std::make_unique<Bus>(io.get_executor(), bus_options(name, settings));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnavailable) throw;
    throw Error(ErrorCode::kUnavailable,
                fmt::format("{}; start a server with `nats-server`, or run `bellwether up`", error.what()),
                "--nats-url");
  }
}

// What the service itself shows on /metrics, brought up to date when it is asked for.
class ServiceMetrics {
 public:
  ServiceMetrics(prometheus::Registry& registry, const std::string& service)
      : ready_(gauge(registry, "bellwether_ready", "1 while /ready answers 200")),
        http_connections_(gauge(registry, "bellwether_http_connections", "Open HTTP connections")),
        bus_connected_(gauge(registry, "bellwether_bus_connected", "1 while connected to a NATS server")),
        published_(counter(registry, "bellwether_bus_published_total", "Messages published")),
        received_(counter(registry, "bellwether_bus_received_total", "Messages received")),
        malformed_(counter(registry, "bellwether_bus_malformed_total", "Messages dropped: they did not parse")),
        overflowed_(counter(registry, "bellwether_bus_overflowed_total", "Messages dropped: a handler was too slow")),
        reconnects_(counter(registry, "bellwether_bus_reconnects_total", "Connections made again")),
        spans_exported_(counter(registry, "bellwether_trace_spans_exported_total", "Spans that the collector took")),
        spans_dropped_(counter(registry, "bellwether_trace_spans_dropped_total",
                               "Spans lost: the collector refused them, or did not keep up")) {
    prometheus::BuildGauge()
        .Name("bellwether_build_info")
        .Help("Constant 1, labelled with what runs")
        .Register(registry)
        .Add({{"service", service}, {"version", BELLWETHER_VERSION}})
        .Set(1);
  }

  void update(bool ready, int http_connections) {
    ready_.Set(ready ? 1 : 0);
    http_connections_.Set(http_connections);
  }

  void update(const Bus& bus) {
    bus_connected_.Set(bus.connected() ? 1 : 0);
    const BusCounters now = bus.counters();
    raise(published_, now.published);
    raise(received_, now.received);
    raise(malformed_, now.malformed);
    raise(overflowed_, now.overflowed);
    raise(reconnects_, now.reconnects);
  }

  void update(const SpanBuffer& spans, const TraceCounters& sent) {
    raise(spans_exported_, sent.exported);
    raise(spans_dropped_, spans.dropped() + sent.refused);
  }

 private:
  static prometheus::Gauge& gauge(prometheus::Registry& registry, const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
  }
  static prometheus::Counter& counter(prometheus::Registry& registry, const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
  }
  static void raise(prometheus::Counter& counter, uint64_t value) {
    counter.Increment(static_cast<double>(value) - counter.Value());
  }

  prometheus::Gauge& ready_;
  prometheus::Gauge& http_connections_;
  prometheus::Gauge& bus_connected_;
  prometheus::Counter& published_;
  prometheus::Counter& received_;
  prometheus::Counter& malformed_;
  prometheus::Counter& overflowed_;
  prometheus::Counter& reconnects_;
  prometheus::Counter& spans_exported_;
  prometheus::Counter& spans_dropped_;
};

}  // namespace

void ServiceSettings::declare(Settings& settings) {
  settings.add("nats-url", &nats_url,
               {.sentence = "Address of the NATS server, or several with commas", .shared = true});
  settings.add("nats-credentials-file", &nats_credentials_file,
               {.sentence = "File with NATS credentials (.creds); empty for none", .shared = true});
  settings.add("log-level", &log_level,
               {.sentence = "The least severe log lines to write",
                .choices = {"debug", "info", "warning", "error"},
                .shared = true});
  settings.add("log-format", &log_format,
               {.sentence = "Form of the log lines; auto is text on a terminal and JSON elsewhere",
                .choices = {"auto", "text", "json"},
                .shared = true});
  settings.add("http", &http_address,
               {.sentence = "HOST:PORT of the HTTP server; port 0 takes a free one", .shared = true});
  settings.add("grpc", &grpc_address,
               {.sentence = "HOST:PORT of the gRPC health service; port 0 takes a free one; empty turns it off",
                .shared = true});
  settings.add("allow-remote", &allow_remote,
               {.sentence = "Let --http and --grpc be addresses that other machines can reach", .shared = true});
  settings.add("shutdown-grace-ms", &shutdown_grace_ms,
               {.sentence = "Time for work in progress to finish after SIGTERM",
                .unit = "ms",
                .min = 0,
                .max = 3600'000,
                .shared = true});
  settings.add(
      "otlp-endpoint", &otlp_endpoint,
      {.sentence = "http://HOST:PORT of an OpenTelemetry collector that gets traces of requests (OTLP, JSON over "
                   "HTTP); empty for none",
       .shared = true});
  settings.add(
      "trace-ratio", &trace_ratio,
      {.sentence = "Share of the requests without a traceparent that are traced; those with one say it themselves",
       .min = 0,
       .max = 1,
       .shared = true});
  settings.add(
      "trace-spans-max", &trace_spans_max,
      {.sentence = "Spans that wait for the collector; more are dropped", .min = 1, .max = 1 << 20, .shared = true});
}

class Service::Impl {
 public:
  Impl(std::string name, ServiceSettings settings)
      : name_(std::move(name)), settings_(std::move(settings)), http_(io_.get_executor(), settings_.http_limits) {
    require_loopback(settings_, settings_.http_address, "--http");
    require_loopback(settings_, settings_.grpc_address, "--grpc");
    if (settings_.uses_bus) bus_ = connect_bus(io_, name_, settings_);
    http_address_ = http_.bind(settings_.http_address);
    if (!settings_.grpc_address.empty()) grpc_ = std::make_unique<GrpcServer>(settings_.grpc_address);
    if (!settings_.otlp_endpoint.empty()) begin_tracing();
    metrics_.emplace(registry_, name_);
    http_.route("GET", "/metrics", [this](HttpExchange& exchange) { return send_metrics(exchange); });
    http_.route("GET", "/health", send_health);
    http_.route("GET", "/ready", [this](HttpExchange& exchange) { return send_readiness(exchange); });
  }

  // A service that uses no bus lacks none.
  [[nodiscard]] bool connected() const { return !bus_ || bus_->connected(); }

  [[nodiscard]] bool serving() const { return ready_ && connected(); }

  void start_grpc() {
    if (!grpc_) return;
    grpc_->start();
    grpc_address_ = grpc_->address();
  }

  void set_ready(bool ready, std::string why_not) {
    ready_ = ready && !shutting_down_;
    why_not_ready_ = shutting_down_ ? "shutting down" : std::move(why_not);
    show_readiness();
  }

  void show_readiness() {
    if (serving() == shown_serving_) return;
    shown_serving_ = serving();
    if (grpc_) grpc_->set_serving(shown_serving_);
    log::info(shown_serving_ ? "ready" : "not ready", {{"bus_connected", connected()}});
  }

  void begin_shutdown(int status) {
    if (shutting_down_) return;
    shutting_down_ = true;
    status_ = status;
    set_ready(false, {});
    shutdown_begun_.cancel();
    readiness_timer_.cancel();
  }

  // Serves until the shutdown, and does that. Returns the exit status.
  int run(Component& component) {
    http_.start();
    asio::signal_set signals(io_, SIGTERM, SIGINT);
    signals.async_wait([&](const boost::system::error_code& error, int number) {
      if (error) return;
      // From now on the plain way, which works although the executor's thread may be stuck.
      signals.clear();
      for (const int each : {SIGTERM, SIGINT}) ::signal(each, [](int) { _exit(kStatusSecondSignal); });
      log::info("shutting down", {{"signal", number}});
      begin_shutdown(0);
    });
    log::info("started",
              {{"version", BELLWETHER_VERSION}, {"http", http_address_}, {"grpc", grpc_address_}, {"pid", getpid()}});
    const auto rethrow = [](const std::exception_ptr& error) {
      if (error) std::rethrow_exception(error);
    };
    asio::co_spawn(io_, watch_readiness(), rethrow);
    asio::co_spawn(io_, wait_and_stop(component), [&](const std::exception_ptr& error) {
      io_.stop();
      rethrow(error);
    });
    io_.run();
    return status_;
  }

  const std::string name_;
  const ServiceSettings settings_;
  asio::io_context io_{1};
  prometheus::Registry registry_;
  HttpServer http_;
  std::unique_ptr<Bus> bus_;
  std::unique_ptr<GrpcServer> grpc_;
  std::string http_address_;
  std::string grpc_address_;
  Tracer tracer_;

 private:
  void begin_tracing() {
    CollectorUrl collector;
    try {
      collector = parse_collector_url(settings_.otlp_endpoint);
    } catch (const Error& error) {
      throw Error(error.code(), fmt::format("--otlp-endpoint: {}", error.what()), "--otlp-endpoint");
    }
    spans_ = std::make_shared<SpanBuffer>(static_cast<size_t>(settings_.trace_spans_max));
    std::random_device random;
    tracer_ = Tracer(spans_, settings_.trace_ratio, (uint64_t{random()} << 32) | random());
    exporter_ =
        std::make_unique<TraceExporter>(io_.get_executor(), spans_, std::move(collector), name_, random_id(name_));
  }

  asio::awaitable<void> send_metrics(HttpExchange& exchange) {
    metrics_->update(serving(), http_.connections());
    if (bus_) metrics_->update(*bus_);
    if (exporter_) metrics_->update(*spans_, exporter_->counters());
    HttpResponse response{.body = render_metrics(registry_), .content_type = kMetricsContentType};
    co_await exchange.send(std::move(response));
  }

  static asio::awaitable<void> send_health(HttpExchange& exchange) {
    HttpResponse response{.body = R"({"status":"ok"})"};
    co_await exchange.send(std::move(response));
  }

  asio::awaitable<void> send_readiness(HttpExchange& exchange) {
    HttpResponse response{.body = R"({"status":"ready"})"};
    if (!serving()) {
      const std::string reason = shutting_down_ || connected() ? why_not_ready_ : "not connected to NATS";
      response = {.status = 503, .body = http_error_body(503, reason), .headers = {{"Retry-After", "1"}}};
    }
    co_await exchange.send(std::move(response));
  }

  asio::awaitable<void> watch_readiness() {
    while (!shutting_down_) {
      show_readiness();
      readiness_timer_.expires_after(kReadinessInterval);
      co_await readiness_timer_.async_wait(kNoThrow);
    }
  }

  asio::awaitable<void> wait_and_stop(Component& component) {
    while (!shutting_down_) {
      shutdown_begun_.expires_at(TimePoint::max());
      co_await shutdown_begun_.async_wait(kNoThrow);
    }
    const std::chrono::milliseconds grace(settings_.shutdown_grace_ms);
    const TimePoint deadline = steady_now() + grace;
    end_at_latest(deadline + kShutdownTimeExtra);
    try {
      co_await component.stop();
    } catch (const std::exception& error) {
      log::error("the component did not stop cleanly", {{"error", error.what()}});
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady_now());
    co_await http_.stop(std::max(left, std::chrono::milliseconds(0)));
    if (exporter_) co_await exporter_->stop(kTracesStopTimeMax);
    if (bus_) co_await bus_->stop(kBusStopTimeMax);
    if (grpc_) grpc_->stop(kGrpcStopTimeMax);
    // A handler that is still there refers to the component, which is about to be destroyed.
    if (http_.connections() > 0) cut_short();
    log::info("stopped", {{"status", status_}});
  }

  void end_at_latest(TimePoint deadline) {
    shutdown_limit_.expires_at(deadline);
    shutdown_limit_.async_wait([](const boost::system::error_code& error) {
      if (!error) cut_short();
    });
  }

  [[noreturn]] static void cut_short() {
    log::error("the shutdown took too long and was cut short");
    _exit(kStatusCutShort);
  }

  std::optional<ServiceMetrics> metrics_;
  std::shared_ptr<SpanBuffer> spans_;  // these two with a collector
  std::unique_ptr<TraceExporter> exporter_;
  bool ready_ = false;
  std::string why_not_ready_ = "starting";
  bool shown_serving_ = false;
  bool shutting_down_ = false;
  int status_ = 0;
  asio::steady_timer shutdown_begun_{io_};
  asio::steady_timer readiness_timer_{io_};
  asio::steady_timer shutdown_limit_{io_};
};

Service::Service(std::string name, ServiceSettings settings)
    : impl_(std::make_unique<Impl>(std::move(name), std::move(settings))) {}
Service::~Service() = default;

const std::string& Service::name() const {
  return impl_->name_;
}
asio::io_context& Service::io() {
  return impl_->io_;
}
Bus& Service::bus() {
  return *impl_->bus_;
}
HttpServer& Service::http() {
  return impl_->http_;
}
prometheus::Registry& Service::registry() {
  return impl_->registry_;
}
Tracer& Service::tracer() {
  return impl_->tracer_;
}
const std::string& Service::http_address() const {
  return impl_->http_address_;
}
void Service::add_grpc_service(std::shared_ptr<grpc::Service> service) {
  if (!impl_->grpc_) throw Error(ErrorCode::kInvalidArgument, "--grpc: is off, but this service needs it", "--grpc");
  impl_->grpc_->add_service(std::move(service));
}
const std::string& Service::grpc_address() const {
  return impl_->grpc_address_;
}
std::chrono::milliseconds Service::shutdown_grace() const {
  return std::chrono::milliseconds(impl_->settings_.shutdown_grace_ms);
}

void Service::set_ready(bool ready, std::string why_not) {
  impl_->set_ready(ready, std::move(why_not));
}

void Service::shut_down(int status) {
  asio::post(impl_->io_, [impl = impl_.get(), status] { impl->begin_shutdown(status); });
}

int run_service(const std::string& name, const ServiceSettings& settings,
                const std::function<std::unique_ptr<Component>(Service&)>& make_component) {
  log::configure(name, log_level(settings.log_level), log_format(settings.log_format));
  ::signal(SIGPIPE, SIG_IGN);  // a peer that has gone is an error of the write
  std::optional<Service> service;
  std::unique_ptr<Component> component;
  try {
    service.emplace(name, settings);
    component = make_component(*service);
    service->impl_->start_grpc();
  } catch (const std::exception& error) {
    log::error("cannot start", {{"error", error.what()}});
    return 1;
  }
  try {
    return service->impl_->run(*component);
  } catch (const std::exception& error) {
    log::error("unhandled exception", {{"error", error.what()}});
    throw;
  }
}

}  // namespace bellwether::mesh
