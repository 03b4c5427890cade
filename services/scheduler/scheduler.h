// Puts placements on the bus.
//
// A request is placed in one step: the best head is chosen and the place on it reserved before anything else is
// looked at, so that a burst spreads evenly. The reservation is told to the other schedulers, then the head is offered
// the request. When the head refuses or stays silent the place is freed and the next best head is tried.
//
// When every head is full, or none is ready and one is to come, the request waits in the queue (request_queue.h); the
// protocol between the gateway that waits and its scheduler stands in generate.proto. Heads that fail or stall are cut
// off for a while (circuit_breaker.h).
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
#include "mesh/trace.h"
#include "scheduler/canary.h"
#include "scheduler/circuit_breaker.h"
#include "scheduler/placement.h"
#include "scheduler/placer.h"
#include "scheduler/request_queue.h"
#include "scheduler/retry_after.h"
#include "scheduler/scheduler_metrics.h"
#include "scheduler/settings.h"

namespace bellwether::scheduler {

inline constexpr size_t kHeadsTriedMax = 3;
inline constexpr size_t kSchedulersMax = 64;  // that this one keeps in mind

// Lives on the io_context's one thread.
class Scheduler : public mesh::Component {
 public:
  // `registry`, `tracer` and `bus` outlive it. `on_ready` is called once, when it has listened to the heads long enough
  // to know them and takes requests. Throws mesh::Error when the settings cannot work.
  Scheduler(boost::asio::io_context& io, mesh::Bus& bus, prometheus::Registry& registry, mesh::Tracer& tracer,
            SchedulerSettings settings, std::function<void()> on_ready);
  ~Scheduler() override;

  // Takes no more requests, finishes those in hand, and has the gateways of those that wait ask another scheduler;
  // polls that come later are answered so, too, as long as the bus is there. At most kHeadsTriedMax times the work
  // timeout.
  boost::asio::awaitable<void> stop() override;

  [[nodiscard]] const ReplicaTable& replicas() const { return placer_.replicas(); }
  [[nodiscard]] const KvMirror& kv() const { return placer_.kv(); }
  [[nodiscard]] const RequestQueue& queue() const { return queue_; }

 private:
  struct Traffic {
    RecentCount frees;
    RecentCount refusals;
  };

  // What the bus brings.
  void on_state(const v1::ReplicaState& state);
  void on_dispatch(const v1::Dispatch& event);
  void on_kv_events(const v1::KvEvents& events);
  void on_scale(const v1::ScaleDecision& decision);
  void on_request(const v1::GenerateRequest& request, const mesh::BusMessage& message);
  void on_poll(const v1::QueuePoll& poll, const mesh::BusMessage& message);

  void maintain();
  void spawn(boost::asio::awaitable<void> task);
  void finish_task();
  boost::asio::awaitable<void> listen_to_requests();

  // From a request's arrival to its first answer.
  boost::asio::awaitable<void> answer(v1::GenerateRequest request, mesh::BusMessage message);
  boost::asio::awaitable<v1::GenerateReply> handle(v1::GenerateRequest request);
  // Tries heads, `first` before others, until one has taken the request. Otherwise Refused.
  boost::asio::awaitable<v1::GenerateReply> place(const v1::GenerateRequest& request, const Candidate& candidate,
                                                  Strategy strategy, std::optional<PlacedOn> first = {});
  // Chooses the best head that is not in `tried`, and none that the request avoids unless it must; reserves a place
  // there and tells the other schedulers.
  std::optional<PlacedOn> reserve(const v1::GenerateRequest& request, const Candidate& candidate, Strategy strategy,
                                  const std::vector<std::string>& tried = {});
  void give_back(const Candidate& candidate, const PlacedOn& head);
  // What the head says; nothing when it says nothing.
  boost::asio::awaitable<std::optional<v1::GenerateReply>> offer(const v1::GenerateRequest& request,
                                                                 const PlacedOn& head);
  [[nodiscard]] v1::GenerateReply refuse(const std::string& model, bool full);
  void publish(const v1::Dispatch& event);
  void respond(const mesh::BusMessage& to, const v1::GenerateReply& reply);
  void cancel(const v1::GenerateRequest& request, const PlacedOn& head);
  void finish(const v1::GenerateRequest& request, const v1::GenerateReply& reply, std::chrono::duration<double> took);

  // The queue (scheduler_queue.cpp).
  [[nodiscard]] bool may_wait(const std::string& model, const v1::GenerateReply& reply) const;
  v1::GenerateReply enqueue(WaitingRequest&& waiting);
  void serve_queue(const std::string& model);  // as many as there is room for
  boost::asio::awaitable<void> place_waiting(WaitingRequest waiting, PlacedOn head);
  void answer_waiting(WaitingRequest& waiting, const v1::GenerateReply& reply);
  void maintain_queue();
  void answer_old_polls(const std::string& model);
  void tell_queue(const std::string& model);
  void send_away_waiting();
  [[nodiscard]] v1::GenerateReply queued(const std::string& model, size_t position);
  [[nodiscard]] uint32_t retry_after_ms(const std::string& model);

  // Circuits (scheduler_health.cpp).
  void watch(const v1::ReplicaState& state);
  void head_answered(const std::string& replica_id, bool answered);  // an offer
  void head_finished(const v1::Dispatch& event);                     // a request
  template <class Change>
  void change_breaker(const std::string& replica_id, Change change);
  void send_canaries();
  boost::asio::awaitable<void> send_canary(std::string replica_id, std::string model, uint64_t epoch);

  // The caches of heads whose events have a gap, or that are new.
  void fetch_dumps();
  boost::asio::awaitable<void> fetch_dump(std::string replica_id);
  // By the request, the model's setting, or the default. Nothing when the request names one that is unknown.
  [[nodiscard]] std::optional<Strategy> strategy_of(const v1::GenerateRequest& request) const;
  [[nodiscard]] TieOrder tie_order() const;
  [[nodiscard]] double frees_per_s(const std::string& model);
  Traffic* traffic(const std::string& model);

  boost::asio::io_context& io_;
  mesh::Bus& bus_;
  mesh::Tracer& tracer_;
  SchedulerSettings settings_;
  std::map<std::string, Strategy> model_strategies_;
  std::function<void()> on_ready_;
  std::string id_;
  Placer placer_;
  RequestQueue queue_;
  SchedulerMetrics metrics_;
  std::map<std::string, CircuitBreaker> breakers_;  // of heads that take work
  Canary canary_;
  std::map<std::string, Traffic> traffic_;              // by model
  std::map<std::string, mesh::TimePoint> schedulers_;   // heard lately, by id, this one not included
  std::map<std::string, mesh::TimePoint> scaled_;       // when an autoscaler was last heard, by model
  std::map<std::string, mesh::TimePoint> queues_told_;  // when, by model
  std::set<std::string> dumping_;                       // replicas whose cache is being read
  int tasks_ = 0;                                       // coroutines in progress, one a request in hand
  bool stopping_ = false;
  boost::asio::steady_timer listen_timer_;
  boost::asio::steady_timer maintain_timer_;
  boost::asio::steady_timer all_tasks_done_;  // cancelled when the last of them has ended
  // Handlers that are already queued when this ends find it expired.
  std::shared_ptr<char> alive_ = std::make_shared<char>();
  mesh::Subscription states_;
  mesh::Subscription dispatches_;
  mesh::Subscription kv_events_;
  mesh::Subscription scale_decisions_;
  mesh::Subscription polls_;
  mesh::Subscription requests_;
};

}  // namespace bellwether::scheduler
