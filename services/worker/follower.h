// A rank that is not the head: it joins its head, computes with it, and joins again when the group broke. It is not on
// the bus and takes no requests; /health, /ready and /metrics are all that the outside sees of it.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/steady_timer.hpp>

#include "bellwether/v1/replica.pb.h"
#include "mesh/clock.h"
#include "mesh/metrics.h"
#include "mesh/service.h"
#include "worker/follower_thread.h"
#include "worker/head_link.h"
#include "worker/settings.h"

namespace bellwether::worker {

class Follower final : public mesh::Component {
 public:
  // Throws mesh::Error when the settings cannot work.
  Follower(mesh::Service& service, const WorkerSettings& settings);
  ~Follower() override;

  // Leaves the group at once: without this rank its head cannot finish anything anyway.
  boost::asio::awaitable<void> stop() override;

 private:
  void join();
  void join_later();
  void report();
  void beat();

  // What the head says.
  void on_message(const v1::HeadMessage& message);
  void on_welcome(const v1::GroupOptions& options);
  void on_start(const v1::Start& start);
  void on_stop();
  void on_link_end(const LinkEnd& end);

  // What the thread says.
  void on_reachable(std::string address);
  void on_running(uint64_t epoch);
  void on_left(uint64_t epoch, const std::string& reason);
  void on_failed(const std::string& reason);

  // The group is lost: nothing more is heard from the head until the next join.
  void lose(const std::string& reason);

  mesh::Service& service_;
  const WorkerSettings settings_;
  v1::Hello hello_;
  prometheus::Counter& steps_total_;
  prometheus::Counter& groups_total_;

  std::optional<HeadLink> link_;
  mesh::TimePoint head_heard_;
  std::chrono::milliseconds join_wait_;
  std::string waits_for_;    // what was last logged
  std::string loaded_with_;  // serialized GroupOptions; empty = was never welcome
  double loading_progress_ = 0;
  std::string address_;         // for the next group; empty = not loaded, or in one
  std::string group_address_;   // of the group it is in
  bool running_ = false;        // in a group, as far as the head knows
  uint64_t epoch_ = 0;          // of the group it is in; 0 = none
  uint64_t steps_counted_ = 0;  // of those in the group
  bool told_to_stop_ = false;
  bool stopped_ = false;
  boost::asio::steady_timer join_timer_;
  boost::asio::steady_timer beat_timer_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // gone with this object: a timer's late handler looks
  FollowerThread thread_;                                  // last: it may call as soon as it is there
};

}  // namespace bellwether::worker
