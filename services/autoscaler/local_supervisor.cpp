#include "autoscaler/local_supervisor.h"

#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "mesh/address.h"
#include "mesh/error.h"
#include "mesh/free_port.h"
#include "mesh/ids.h"
#include "mesh/log.h"

namespace bellwether::autoscaler {
namespace {

namespace asio = boost::asio;
namespace log = mesh::log;

constexpr std::chrono::milliseconds kStopPollEvery{20};
constexpr const char* kAnyAddress = "127.0.0.1:0";

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
  if (Replica* replica = find(replica_id)) replica->heard = true;
}

void LocalSupervisor::hung(std::string_view replica_id) {
  Replica* replica = find(replica_id);
  if (replica == nullptr || replica->stopping) return;
  log::warning("replica is silent, killing it", {{"replica_id", replica_id}, {"pid", replica->ranks[0].pid()}});
  kill(*replica);
}

std::vector<std::string> LocalSupervisor::collect_ended() {
  enforce_timeouts();
  std::vector<std::string> ended;
  std::erase_if(replicas_, [&](Replica& replica) {
    if (!has_ended(replica)) return false;
    ended.push_back(replica.replica_id);
    return true;
  });
  return ended;
}

bool LocalSupervisor::has_ended(Replica& replica) {
  const auto has_status = [](mesh::ChildProcess& rank) { return rank.poll().has_value(); };
  const bool one = std::any_of(replica.ranks.begin(), replica.ranks.end(), has_status);
  const bool all = std::all_of(replica.ranks.begin(), replica.ranks.end(), has_status);
  if (one && !replica.stopping) died(replica);
  if (all) {
    log::info("replica ended", {{"replica_id", replica.replica_id}});
  } else if (replica.stopping && replica.ranks[0].poll() && !std::exchange(replica.followers_told, true)) {
    for (mesh::ChildProcess& rank : replica.ranks) rank.signal(SIGTERM);
  }
  return all;
}

// REQUIRES: a process of it has ended, unasked.
void LocalSupervisor::died(Replica& replica) {
  count_death(replica.started_at);
  for (size_t rank = 0; rank < replica.ranks.size(); ++rank) {
    const std::optional<int> status = replica.ranks[rank].poll();
    if (!status) continue;
    log::warning("worker died", {{"replica_id", replica.replica_id},
                                 {"rank", rank},
                                 {"status", *status},
                                 {"deaths_in_a_row", deaths_},
                                 {"restart_wait_ms", restart_wait(deaths_).count()}});
  }
  drain(replica);
}

void LocalSupervisor::enforce_timeouts() {
  const mesh::TimePoint now = clock_();
  for (Replica& replica : replicas_) {
    if (replica.stopping && now - replica.stopping_at > kDrainTimeMax) {
      log::warning("replica does not stop, killing it", {{"replica_id", replica.replica_id}});
      kill(replica);
    } else if (!replica.stopping && !replica.heard && now - replica.started_at > options_.start_timeout) {
      log::warning("replica was not heard in time, killing it", {{"replica_id", replica.replica_id}});
      kill(replica);
    }
  }
}

std::vector<ReplicaSet::Member> LocalSupervisor::members() const {
  std::vector<Member> members;
  for (const Replica& replica : replicas_) {
    if (!replica.stopping) members.push_back({replica.replica_id, replica.heard});
  }
  return members;
}

void LocalSupervisor::scale_to(size_t count) {
  size_t running = members().size();
  for (auto replica = replicas_.rbegin(); replica != replicas_.rend() && running > count; ++replica) {
    if (replica->stopping) continue;
    drain(*replica);
    --running;
  }
  while (running < count && clock_() - last_death_at_ >= restart_wait(deaths_)) {
    start_one();
    ++running;
  }
}

mesh::Command LocalSupervisor::command_of(const std::string& replica_id, int rank, const std::string& head) const {
  mesh::Command command{options_.command, {}};
  const auto add = [&](const std::string& flag, const std::string& value) {
    command.arguments.insert(command.arguments.end(), {flag, value});
  };
  std::string name = replica_id;
  add("--replica-id", replica_id);
  add("--grpc", rank == 0 ? head : kAnyAddress);
  if (options_.ranks > 1) {
    name += "-rank-" + std::to_string(rank);
    add("--ranks", std::to_string(options_.ranks));
    add("--rank", std::to_string(rank));
    if (rank > 0) add("--head", head);
  }
  if (!options_.log_folder.empty()) command.log_file = options_.log_folder + "/" + name + ".log";
  return command;
}

void LocalSupervisor::start_one() {
  const mesh::TimePoint now = clock_();
  Replica replica{.replica_id = mesh::random_id("replica"), .ranks = {}, .started_at = now};
  try {
    const std::string head = options_.ranks == 1
                                 ? kAnyAddress
                                 : mesh::to_string({.host = "127.0.0.1", .port = mesh::free_loopback_ports(1)[0]});
    for (int rank = 0; rank < options_.ranks; ++rank) {
      replica.ranks.emplace_back(command_of(replica.replica_id, rank, head));
      log::info("worker started", {{"replica_id", replica.replica_id},
                                   {"rank", rank},
                                   {"pid", replica.ranks.back().pid()},
                                   {"log_file", replica.ranks.back().command().log_file}});
    }
    replicas_.push_back(std::move(replica));
  } catch (const mesh::Error& error) {
    count_death(now);
    log::error("replica not started", {{"program", options_.command[0]},
                                       {"error", error.what()},
                                       {"restart_wait_ms", restart_wait(deaths_).count()}});
  }
}

// The head finishes its requests with its followers and takes them with it.
void LocalSupervisor::drain(Replica& replica) {
  log::info("replica is to stop", {{"replica_id", replica.replica_id}, {"pid", replica.ranks[0].pid()}});
  replica.stopping = true;
  replica.stopping_at = clock_();
  replica.ranks[0].signal(SIGTERM);
}

void LocalSupervisor::kill(Replica& replica) {
  for (mesh::ChildProcess& rank : replica.ranks) rank.signal(SIGKILL);
}

void LocalSupervisor::count_death(mesh::TimePoint started_at) {
  const mesh::TimePoint now = clock_();
  deaths_ = now - started_at >= kSoundAfter ? 1 : deaths_ + 1;
  last_death_at_ = now;
}

asio::awaitable<void> LocalSupervisor::stop() {
  for (Replica& replica : replicas_) {
    if (!replica.stopping) drain(replica);
  }
  asio::steady_timer timer(executor_);
  const auto deadline = std::chrono::steady_clock::now() + options_.stop_timeout;
  while (!replicas_.empty() && std::chrono::steady_clock::now() < deadline) {
    collect_ended();
    timer.expires_after(kStopPollEvery);
    boost::system::error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  for (const Replica& replica : replicas_) {
    log::warning("replica did not stop in time, killing it", {{"replica_id", replica.replica_id}});
  }
  replicas_.clear();
}

LocalSupervisor::Replica* LocalSupervisor::find(std::string_view replica_id) {
  const auto found = std::find_if(replicas_.begin(), replicas_.end(),
                                  [&](const Replica& replica) { return replica.replica_id == replica_id; });
  return found == replicas_.end() ? nullptr : &*found;
}

}  // namespace bellwether::autoscaler
