#include "autoscaler/local_supervisor.h"

#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "mesh/error.h"
#include "mesh/ids.h"
#include "mesh/log.h"

namespace bellwether::autoscaler {
namespace {

namespace asio = boost::asio;
namespace log = mesh::log;

constexpr std::chrono::milliseconds kStopPollEvery{20};

}  // namespace

std::chrono::milliseconds restart_wait(int deaths) {
  std::chrono::milliseconds wait = kRestartWaitMin;
  for (int i = 1; i < deaths && wait < kRestartWaitMax; ++i) wait *= 2;
  return deaths == 0 ? std::chrono::milliseconds(0) : std::min(wait, kRestartWaitMax);
}

LocalSupervisor::LocalSupervisor(asio::any_io_executor executor, LocalSupervisorOptions options, mesh::Clock clock)
    : executor_(std::move(executor)), options_(std::move(options)), clock_(std::move(clock)) {
  if (options_.log_folder.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(options_.log_folder, error);
  if (error) {
    throw mesh::Error(mesh::ErrorCode::kInvalidArgument, "cannot be made: " + error.message(), "--worker-log-folder");
  }
}

void LocalSupervisor::heard(std::string_view replica_id) {
  if (Worker* worker = find(replica_id)) worker->heard = true;
}

void LocalSupervisor::hung(std::string_view replica_id) {
  Worker* worker = find(replica_id);
  if (worker == nullptr || worker->stopping) return;
  log::warning("worker is silent, killing it", {{"replica_id", replica_id}, {"pid", worker->process.pid()}});
  worker->process.signal(SIGKILL);
}

std::vector<std::string> LocalSupervisor::collect_ended() {
  enforce_timeouts();
  std::vector<std::string> ended;
  std::erase_if(workers_, [&](Worker& worker) {
    const std::optional<int> status = worker.process.poll();
    if (!status) return false;
    ended.push_back(worker.replica_id);
    if (worker.stopping) {
      log::info("worker stopped", {{"replica_id", worker.replica_id}, {"status", *status}});
    } else {
      count_death(worker.started_at);
      log::warning("worker died", {{"replica_id", worker.replica_id},
                                   {"status", *status},
                                   {"deaths_in_a_row", deaths_},
                                   {"restart_wait_ms", restart_wait(deaths_).count()}});
    }
    return true;
  });
  return ended;
}

void LocalSupervisor::enforce_timeouts() {
  const mesh::TimePoint now = clock_();
  for (Worker& worker : workers_) {
    if (worker.stopping && now - worker.stopping_at > kDrainTimeMax) {
      log::warning("worker does not stop, killing it", {{"replica_id", worker.replica_id}});
      worker.process.signal(SIGKILL);
    } else if (!worker.stopping && !worker.heard && now - worker.started_at > options_.start_timeout) {
      log::warning("worker was not heard in time, killing it", {{"replica_id", worker.replica_id}});
      worker.process.signal(SIGKILL);
    }
  }
}

std::vector<ReplicaSet::Member> LocalSupervisor::members() const {
  std::vector<Member> members;
  for (const Worker& worker : workers_) {
    if (!worker.stopping) members.push_back({worker.replica_id, worker.heard});
  }
  return members;
}

void LocalSupervisor::scale_to(size_t count) {
  size_t running = members().size();
  for (auto worker = workers_.rbegin(); worker != workers_.rend() && running > count; ++worker) {
    if (worker->stopping) continue;
    drain(*worker);
    --running;
  }
  while (running < count && clock_() - last_death_at_ >= restart_wait(deaths_)) {
    start_one();
    ++running;
  }
}

void LocalSupervisor::start_one() {
  const std::string replica_id = mesh::random_id("replica");
  mesh::Command command{options_.command, {}};
  command.arguments.insert(command.arguments.end(), {"--replica-id", replica_id});
  if (!options_.log_folder.empty()) command.log_file = options_.log_folder + "/" + replica_id + ".log";
  const mesh::TimePoint now = clock_();
  try {
    workers_.push_back({.replica_id = replica_id, .process = mesh::ChildProcess(command), .started_at = now});
    log::info("worker started",
              {{"replica_id", replica_id}, {"pid", workers_.back().process.pid()}, {"log_file", command.log_file}});
  } catch (const mesh::Error& error) {
    count_death(now);
    log::error("worker not started", {{"program", command.arguments[0]},
                                      {"error", error.what()},
                                      {"restart_wait_ms", restart_wait(deaths_).count()}});
  }
}

void LocalSupervisor::drain(Worker& worker) {
  log::info("worker is to stop", {{"replica_id", worker.replica_id}, {"pid", worker.process.pid()}});
  worker.stopping = true;
  worker.stopping_at = clock_();
  worker.process.signal(SIGTERM);
}

void LocalSupervisor::count_death(mesh::TimePoint started_at) {
  const mesh::TimePoint now = clock_();
  deaths_ = now - started_at >= kSoundAfter ? 1 : deaths_ + 1;
  last_death_at_ = now;
}

asio::awaitable<void> LocalSupervisor::stop() {
  for (Worker& worker : workers_) {
    if (!worker.stopping) drain(worker);
  }
  asio::steady_timer timer(executor_);
  const auto deadline = std::chrono::steady_clock::now() + options_.stop_timeout;
  while (!workers_.empty() && std::chrono::steady_clock::now() < deadline) {
    collect_ended();
    timer.expires_after(kStopPollEvery);
    boost::system::error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  for (const Worker& worker : workers_) {
    log::warning("worker did not stop in time, killing it", {{"replica_id", worker.replica_id}});
  }
  workers_.clear();
}

LocalSupervisor::Worker* LocalSupervisor::find(std::string_view replica_id) {
  const auto found = std::find_if(workers_.begin(), workers_.end(),
                                  [&](const Worker& worker) { return worker.replica_id == replica_id; });
  return found == workers_.end() ? nullptr : &*found;
}

}  // namespace bellwether::autoscaler
