// Replicas as child processes on this machine: a worker each, or one for each of its ranks.
//
// A replica lives and dies as a whole: when a process of it dies, the others are stopped. It is not started again by
// itself: the next decision finds one too few. When replicas keep dying, each death doubles the wait before the next
// start.
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
  // Of a worker. "--replica-id ID" and "--grpc HOST:PORT" are added to it, with several ranks also "--ranks N", "--rank
  // K" and, for the head's followers, "--head HOST:PORT".
  std::vector<std::string> command;
  int ranks = 1;           // of each replica
  std::string log_folder;  // for one file a process, made if missing; empty = output is inherited
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
  struct Replica {
    std::string replica_id;
    std::vector<mesh::ChildProcess> ranks;  // the head first
    mesh::TimePoint started_at;
    mesh::TimePoint stopping_at = {};
    bool heard = false;
    bool stopping = false;
    bool followers_told = false;  // to stop; the head's own word to them came first
  };

  void start_one();
  [[nodiscard]] mesh::Command command_of(const std::string& replica_id, int rank, const std::string& head) const;
  [[nodiscard]] bool has_ended(Replica& replica);
  void died(Replica& replica);
  void drain(Replica& replica);
  static void kill(Replica& replica);
  void count_death(mesh::TimePoint started_at);
  void enforce_timeouts();
  Replica* find(std::string_view replica_id);

  boost::asio::any_io_executor executor_;
  LocalSupervisorOptions options_;
  mesh::Clock clock_;
  std::vector<Replica> replicas_;  // oldest first
  int deaths_ = 0;                 // in a row
  mesh::TimePoint last_death_at_;
};

}  // namespace bellwether::autoscaler
