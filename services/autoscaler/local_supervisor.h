// Replicas as child processes on this machine, one worker each.
//
// A worker that dies is not started again by itself: the next decision finds one too few. When workers keep dying, each
// death doubles the wait before the next start.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "autoscaler/replica_set.h"
#include "mesh/clock.h"
#include "mesh/process.h"

namespace bellwether::autoscaler {

inline constexpr std::chrono::milliseconds kRestartWaitMin{1000};   // after the first death ...
inline constexpr std::chrono::milliseconds kRestartWaitMax{60000};  // ... doubling up to this
// A worker that has lived for so long did not die of its start: deaths before it are forgotten.
inline constexpr std::chrono::seconds kSoundAfter{60};
// For a worker to finish its requests. It has a limit of its own, --shutdown-grace-ms, below this one.
inline constexpr std::chrono::minutes kDrainTimeMax{10};

struct LocalSupervisorOptions {
  std::vector<std::string> command;  // of a worker; "--replica-id ID" is added to it
  std::string log_folder;            // for one file a worker, made if missing; empty = output is inherited
  std::chrono::milliseconds start_timeout{60000};  // until its state must have been heard
  std::chrono::milliseconds stop_timeout{30000};   // of stop(); what runs then is killed
};

// How long to wait after the last of `deaths` in a row.
[[nodiscard]] std::chrono::milliseconds restart_wait(int deaths);

// REQUIRES: lives on the main thread (see mesh::ChildProcess). Workers that run when it ends are killed.
class LocalSupervisor : public ReplicaSet {
 public:
  LocalSupervisor(boost::asio::any_io_executor executor, LocalSupervisorOptions options, mesh::Clock clock);

  void heard(std::string_view replica_id) override;
  void hung(std::string_view replica_id) override;
  std::vector<std::string> collect_ended() override;
  [[nodiscard]] std::vector<Member> members() const override;
  void scale_to(size_t count) override;
  boost::asio::awaitable<void> stop() override;

 private:
  struct Worker {
    std::string replica_id;
    mesh::ChildProcess process;
    mesh::TimePoint started_at;
    mesh::TimePoint stopping_at = {};
    bool heard = false;
    bool stopping = false;
  };

  void start_one();
  void drain(Worker& worker);
  void count_death(mesh::TimePoint started_at);
  void enforce_timeouts();
  Worker* find(std::string_view replica_id);

  boost::asio::any_io_executor executor_;
  LocalSupervisorOptions options_;
  mesh::Clock clock_;
  std::vector<Worker> workers_;  // oldest first
  int deaths_ = 0;               // in a row
  mesh::TimePoint last_death_at_;
};

}  // namespace bellwether::autoscaler
