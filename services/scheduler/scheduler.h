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
#include <set>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "bellwether/v1/generate.pb.h"
#include "bellwether/v1/mesh.pb.h"
#include "mesh/bus.h"
#include "mesh/service.h"
#include "scheduler/placement.h"
#include "scheduler/placer.h"
#include "scheduler/retry_after.h"
#include "scheduler/scheduler_metrics.h"

namespace bellwether::scheduler {

inline constexpr size_t kHeadsTriedMax = 3;
inline constexpr size_t kSchedulersMax = 64;  // that this one keeps in mind

struct SchedulerSettings {
  int64_t work_timeout_ms = 500;  // for a head to take or refuse a request
  std::string strategy = std::string(kStrategyDefault);
  std::vector<std::string> model_strategies = {};  // MODEL=STRATEGY
  int64_t kv_index_blocks_max = 1 << 23;
  int64_t slow_start_ms = 10000;
};

void declare(mesh::Settings& declared, SchedulerSettings& settings);

// Lives on the io_context's one thread.
class Scheduler : public mesh::Component {
 public:
  // `registry` and `bus` outlive it. `on_ready` is called once, when it has listened to the heads long enough to know
  // them and takes requests. Throws mesh::Error when the settings cannot work.
  Scheduler(boost::asio::io_context& io, mesh::Bus& bus, prometheus::Registry& registry, SchedulerSettings settings,
            std::function<void()> on_ready);
  ~Scheduler() override;

  // Takes no more requests, finishes those it has. At most kHeadsTriedMax times the work timeout.
  boost::asio::awaitable<void> stop() override;

  [[nodiscard]] const ReplicaTable& replicas() const { return placer_.replicas(); }
  [[nodiscard]] const KvMirror& kv() const { return placer_.kv(); }

 private:
  struct Traffic {
    RecentCount frees;
    RecentCount refusals;
  };

  void on_state(const v1::ReplicaState& state);
  void on_dispatch(const v1::Dispatch& event);
  void on_kv_events(const v1::KvEvents& events);
  void on_request(const v1::GenerateRequest& request, const mesh::BusMessage& message);
  void maintain();
  void finish_task();
  boost::asio::awaitable<void> listen_to_requests();

  boost::asio::awaitable<void> answer(v1::GenerateRequest request, mesh::BusMessage message);
  boost::asio::awaitable<v1::GenerateReply> place(const v1::GenerateRequest& request);
  // Chooses the best head that is not in `tried`, reserves a place there and tells the other schedulers.
  std::optional<PlacedOn> reserve(const Candidate& candidate, Strategy strategy, const std::vector<std::string>& tried);
  void give_back(const Candidate& candidate, const PlacedOn& head);
  // What the head says; nothing when it says nothing.
  boost::asio::awaitable<std::optional<v1::GenerateReply>> offer(const v1::GenerateRequest& request,
                                                                 const PlacedOn& head);
  [[nodiscard]] v1::GenerateReply refuse(const v1::GenerateRequest& request, bool full);
  void publish(const v1::Dispatch& event);
  void cancel(const v1::GenerateRequest& request, const PlacedOn& head);
  // The caches of heads whose events have a gap, or that are new.
  void fetch_dumps();
  boost::asio::awaitable<void> fetch_dump(std::string replica_id);
  // By the request, the model's setting, or the default. Nothing when the request names one that is unknown.
  [[nodiscard]] std::optional<Strategy> strategy_of(const v1::GenerateRequest& request) const;
  [[nodiscard]] TieOrder tie_order() const;
  Traffic* traffic(const std::string& model);

  boost::asio::io_context& io_;
  mesh::Bus& bus_;
  SchedulerSettings settings_;
  std::map<std::string, Strategy> model_strategies_;
  std::function<void()> on_ready_;
  std::string id_;
  Placer placer_;
  SchedulerMetrics metrics_;
  std::map<std::string, Traffic> traffic_;             // by model
  std::map<std::string, mesh::TimePoint> schedulers_;  // heard lately, by id, this one not included
  std::set<std::string> dumping_;                      // replicas whose cache is being read
  int tasks_ = 0;                                      // coroutines in progress, one a request in hand
  bool stopping_ = false;
  boost::asio::steady_timer listen_timer_;
  boost::asio::steady_timer maintain_timer_;
  boost::asio::steady_timer all_tasks_done_;  // cancelled when the last of them has ended
  // Handlers that are already queued when this ends find it expired.
  std::shared_ptr<char> alive_ = std::make_shared<char>();
  mesh::Subscription states_;
  mesh::Subscription dispatches_;
  mesh::Subscription kv_events_;
  mesh::Subscription requests_;
};

}  // namespace bellwether::scheduler
