#include "cli/up/mesh_runner.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "cli/up/hints.h"
#include "cli/up/readiness.h"
#include "mesh/error.h"
#include "mesh/subjects.h"

namespace bellwether::cli {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::milliseconds kLookInterval{
    50};  // for what tells by no event: a port file, a log line, /v1/models
constexpr std::chrono::seconds kNatsStartTimeMax{10};
constexpr std::chrono::milliseconds kBusStopTime{500};
// Services end by themselves this long after their grace at the latest (libs/mesh/service.cpp): only a stuck one is
// killed.
constexpr std::chrono::milliseconds kStopTimeExtra{12000};
constexpr std::chrono::milliseconds kKilledWaitMax{5000};
constexpr int kLogLinesShown = 15;

}  // namespace

MeshRunner::MeshRunner(asio::io_context& io, PlanOptions options, std::string nats_server, int nats_port,
                       ProgressPrinter& printer)
    : io_(io),
      options_(std::move(options)),
      nats_server_(std::move(nats_server)),
      nats_port_(nats_port),
      printer_(printer),
      started_unix_ms_(mesh::unix_ms_now()),
      model_name_(model_name(options_)),
      children_(&mesh::steady_now, options_.restarts),
      wake_timer_(io) {}

asio::awaitable<int> MeshRunner::run() {
  std::string failure;
  try {
    co_await start();
    co_await watch();
  } catch (const std::exception& error) {
    failure = error.what();
  }
  printer_.clear();
  if (!failure.empty()) {
    std::fflush(stdout);
    const std::string text = fmt::format("bellwether up: {}\n", failure);
    std::fwrite(text.data(), 1, text.size(), stderr);
  }
  co_await stop();
  co_return failure.empty() ? 0 : 1;
}

void MeshRunner::request_stop() {
  stop_requested_ = true;
  wake();
}

void MeshRunner::child_ended() {
  wake();
}

void MeshRunner::kill_children() {
  children_.kill_all();
}

asio::awaitable<void> MeshRunner::start() {
  printer_.line(fmt::format("bellwether {}, model {}", BELLWETHER_VERSION, options_.model));
  if (!nats_server_.empty()) co_await start_nats_server();
  if (stop_requested_) co_return;
  connect_bus();
  for (const PlannedProcess& planned : plan_services(options_)) start_child(planned);
  co_await wait_until_ready();
}

asio::awaitable<void> MeshRunner::start_nats_server() {
  const PlannedProcess planned = plan_nats_server(nats_server_, nats_port_, options_.log_folder);
  const pid_t pid = children_.start(planned);
  const mesh::TimePoint deadline = mesh::steady_now() + kNatsStartTimeMax;
  std::optional<std::string> url;
  while (!stop_requested_ && !(url = read_nats_url(options_.log_folder, pid))) {
    require_all_running();
    if (mesh::steady_now() > deadline) {
      throw mesh::Error(mesh::ErrorCode::kUnavailable,
                        fmt::format("nats-server does not listen after {} s, see {}", kNatsStartTimeMax.count(),
                                    planned.command.log_file));
    }
    co_await wait(mesh::steady_now() + kLookInterval);
  }
  if (!url) co_return;
  options_.nats_url = *url;
  // Started again it must be where everybody looks for it.
  children_.replan(plan_nats_server(nats_server_, port_of_url(*url), options_.log_folder));
  printer_.line(fmt::format("  {:<15} pid {:<8} {}  {}", planned.name, pid, *url, planned.command.log_file));
}

void MeshRunner::connect_bus() {
  mesh::BusOptions bus;
  bus.url = options_.nats_url;
  bus.client_name = "bellwether up";
  bus.credentials_file = options_.nats_credentials_file;
  bus_.emplace(io_.get_executor(), bus);
  states_ = bus_->subscribe<v1::ReplicaState>(
      mesh::subjects::kAllReplicaStates,
      [this](const v1::ReplicaState& state, const mesh::BusMessage&) { hear(state); });
}

void MeshRunner::start_child(const PlannedProcess& planned) {
  const pid_t pid = children_.start(planned);
  // Heads say on the bus how they and their followers are.
  if (planned.role != Role::kWorker && planned.role != Role::kFollower) services_.add(planned, pid);
  printer_.line(fmt::format("  {:<15} pid {:<8} {}", planned.name, pid, planned.command.log_file));
}

// A bus that was there before may carry other meshes: ours are the heads that were started after us.
void MeshRunner::hear(const v1::ReplicaState& state) {
  if (state.started_unix_ms() < started_unix_ms_) return;
  if (book_.states().empty()) model_name_ = state.model();
  book_.hear(state, mesh::steady_now());
  wake();
}

asio::awaitable<void> MeshRunner::wait_until_ready() {
  const auto expected = static_cast<size_t>(options_.replicas);
  while (!stop_requested_) {
    require_all_running();
    learn_gateway_address();
    book_.forget_silent(mesh::steady_now());
    printer_.loading(book_.loading_progress(expected), book_.ready(), expected);
    if (co_await is_ready()) {
      printer_.clear();
      printer_.line(ready_text(http_url_, model_name_, mesh::program_folder() + "/bellwether"));
      co_return;
    }
    co_await wait(mesh::steady_now() + kLookInterval);
  }
}

// The scheduler is ready only once it knows the heads, so that the first request is served.
asio::awaitable<bool> MeshRunner::is_ready() {
  if (book_.ready() < static_cast<size_t>(options_.replicas)) co_return false;
  if (!co_await services_.all_ready()) co_return false;
  co_return options_.replicas == 0 || co_await services_.gateway_lists(model_name_);
}

void MeshRunner::learn_gateway_address() {
  services_.look_for_addresses();
  const auto address = services_.address_of(Role::kGateway);
  if (!address || !http_url_.empty()) return;
  http_url_ = client_url(*address);
  options_.http_address = *address;  // started again it must be where its clients look for it
  for (const PlannedProcess& planned : plan_services(options_)) {
    if (planned.role == Role::kGateway) children_.replan(planned);
  }
  write_run_file();
}

void MeshRunner::write_run_file() {
  RunningMesh mesh;
  mesh.pid = getpid();
  mesh.process_start = process_start_of(getpid()).value_or(0);
  mesh.started_unix_ms = started_unix_ms_;
  mesh.nats_url = options_.nats_url;
  mesh.http_url = http_url_;
  try {
    run_file_.emplace(default_run_folder(), mesh);
  } catch (const mesh::Error& error) {
    printer_.line(fmt::format("`bellwether status` and `chat` will need --nats-url {} and --url {}: {}", mesh.nats_url,
                              mesh.http_url, error.what()));
  }
}

// REQUIRES: not ready yet. A mesh that does not come up is not worth nursing: its cause is worth showing.
void MeshRunner::require_all_running() {
  for (const ChildEnd& end : children_.collect_ended()) {
    throw mesh::Error(mesh::ErrorCode::kUnavailable,
                      fmt::format("{} {} before the mesh was ready. The last lines of {}:\n{}", end.name,
                                  describe_status(end.status), end.log_file, last_lines(end.log_file, kLogLinesShown)));
  }
}

asio::awaitable<void> MeshRunner::watch() {
  while (!stop_requested_) {
    for (const ChildEnd& end : children_.collect_ended()) {
      if (!end.restart_after) {
        throw mesh::Error(
            mesh::ErrorCode::kUnavailable,
            fmt::format("{} {}, too often to go on. The last lines of {}:\n{}", end.name, describe_status(end.status),
                        end.log_file, last_lines(end.log_file, kLogLinesShown)));
      }
      printer_.line(fmt::format("{} {}; it is started again in {:.1f} s ({})", end.name, describe_status(end.status),
                                std::chrono::duration<double>(*end.restart_after).count(), end.log_file));
    }
    for (const std::string& name : children_.restart_due()) printer_.line(fmt::format("{} was started again", name));
    co_await wait(children_.next_restart().value_or(mesh::TimePoint::max()));
  }
}

asio::awaitable<void> MeshRunner::stop() {
  children_.forget_restarts();
  run_file_.reset();
  printer_.line("stopping");
  states_.reset();
  if (bus_) co_await bus_->stop(kBusStopTime);
  for (const std::vector<Role>& stage : stop_stages(options_.replicas_max > options_.replicas)) {
    co_await stop_stage(stage);
  }
}

asio::awaitable<void> MeshRunner::stop_stage(const std::vector<Role>& stage) {
  children_.signal(stage, SIGTERM);
  const mesh::TimePoint deadline =
      mesh::steady_now() + std::chrono::milliseconds(options_.shutdown_grace_ms) + kStopTimeExtra;
  while (!children_.all_ended(stage) && mesh::steady_now() < deadline) co_await wait(deadline);
  if (children_.all_ended(stage)) co_return;
  printer_.line("a process does not stop and is killed");
  children_.signal(stage, SIGKILL);
  const mesh::TimePoint killed_deadline = mesh::steady_now() + kKilledWaitMax;
  while (!children_.all_ended(stage) && mesh::steady_now() < killed_deadline) co_await wait(killed_deadline);
}

void MeshRunner::wake() {
  woken_ = true;
  wake_timer_.cancel();
}

asio::awaitable<void> MeshRunner::wait(mesh::TimePoint deadline) {
  if (!std::exchange(woken_, false)) {
    wake_timer_.expires_at(deadline);
    co_await wake_timer_.async_wait(asio::as_tuple(asio::use_awaitable));
    woken_ = false;
  }
}

}  // namespace bellwether::cli
