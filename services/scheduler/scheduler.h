// Decides which head gets which request.
//
// A request is placed in one step: the best head is chosen and the place on it reserved before anything else is
// looked at, so that a burst spreads evenly. The reservation is told to the other schedulers, then the head is offered
// the request. When the head refuses or stays silent the place is freed and the next best head is tried.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "bellwether/v1/generate.pb.h"
#include "bellwether/v1/mesh.pb.h"
#include "mesh/bus.h"
#include "mesh/service.h"
#include "scheduler/placement.h"
#include "scheduler/replica_table.h"
#include "scheduler/retry_after.h"
#include "scheduler/scheduler_metrics.h"

namespace bellwether::scheduler {

inline constexpr size_t kHeadsTriedMax = 3;
inline constexpr size_t kSchedulersMax = 64;  // that this one keeps in mind

struct SchedulerSettings {
  int64_t work_timeout_ms = 500;  // for a head to take or refuse a request
};

void declare(mesh::Settings& declared, SchedulerSettings& settings);

// Lives on the io_context's one thread.
class Scheduler : public mesh::Component {
 public:
  // `registry` and `bus` outlive it. `on_ready` is called once, when it has listened to the heads long enough to know
  // them and takes requests.
  Scheduler(boost::asio::io_context& io, mesh::Bus& bus, prometheus::Registry& registry, SchedulerSettings settings,
            std::function<void()> on_ready);
  ~Scheduler() override;

  // Takes no more requests, finishes those it has. At most kHeadsTriedMax times the work timeout.
  boost::asio::awaitable<void> stop() override;

  [[nodiscard]] const ReplicaTable& replicas() const { return replicas_; }

 private:
  struct Head {
    std::string replica_id;
    uint64_t epoch;
  };
  struct Traffic {
    RecentCount frees;
    RecentCount refusals;
  };

  void on_state(const v1::ReplicaState& state);
  void on_dispatch(const v1::Dispatch& event);
  void on_request(const v1::GenerateRequest& request, const mesh::BusMessage& message);
  void maintain();
  void finish_task();
  boost::asio::awaitable<void> listen_to_requests();

  boost::asio::awaitable<void> answer(v1::GenerateRequest request, mesh::BusMessage message);
  boost::asio::awaitable<v1::GenerateReply> place(const v1::GenerateRequest& request);
  // Chooses the best head that is not in `tried` and reserves a place there.
  std::optional<Head> reserve(const v1::GenerateRequest& request, const std::vector<std::string>& tried);
  // Gives the place back. False when the head's own FREE was here before.
  void give_back(const v1::GenerateRequest& request, const Head& head);
  // What the head says; nothing when it says nothing.
  boost::asio::awaitable<std::optional<v1::GenerateReply>> offer(const v1::GenerateRequest& request, const Head& head);
  [[nodiscard]] v1::GenerateReply refuse(const v1::GenerateRequest& request, bool full);
  void publish(const v1::Dispatch& event);
  void cancel(const v1::GenerateRequest& request, const Head& head);
  [[nodiscard]] TieOrder tie_order() const;
  Traffic* traffic(const std::string& model);

  boost::asio::io_context& io_;
  mesh::Bus& bus_;
  SchedulerSettings settings_;
  std::function<void()> on_ready_;
  std::string id_;
  ReplicaTable replicas_;
  SchedulerMetrics metrics_;
  std::map<std::string, Traffic> traffic_;             // by model
  std::map<std::string, mesh::TimePoint> schedulers_;  // heard lately, by id, this one not included
  int tasks_ = 0;                                      // coroutines in progress, one a request in hand
  bool stopping_ = false;
  boost::asio::steady_timer listen_timer_;
  boost::asio::steady_timer maintain_timer_;
  boost::asio::steady_timer all_tasks_done_;  // cancelled when the last of them has ended
  // Handlers that are already queued when this ends find it expired.
  std::shared_ptr<char> alive_ = std::make_shared<char>();
  mesh::Subscription states_;
  mesh::Subscription dispatches_;
  mesh::Subscription requests_;
};

}  // namespace bellwether::scheduler
