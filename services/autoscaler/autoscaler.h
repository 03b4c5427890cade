// Decides how many replicas of each model there should be, from what the heads and the schedulers' queues tell, and has
// the decisions carried out when it is given a ReplicaSet.
//
// A follower publishes no state, so it is never counted. While the bus cannot be reached nothing is decided: what was
// not heard then is the autoscaler's own deafness.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "autoscaler/autoscaler_metrics.h"
#include "autoscaler/policy.h"
#include "autoscaler/queue_watch.h"
#include "autoscaler/replica_set.h"
#include "autoscaler/replica_watch.h"
#include "bellwether/v1/mesh.pb.h"
#include "mesh/bus.h"
#include "mesh/service.h"

namespace bellwether::autoscaler {

inline constexpr size_t kModelsMax = 256;
// A decision that stays the same is published again after so long, for those who have just come.
inline constexpr std::chrono::seconds kRepublishAfter{10};
// A model that no head serves any more is decided about for so long (never forgotten when it is the one model).
inline constexpr std::chrono::minutes kModelForgottenAfter{10};

struct AutoscalerOptions {
  std::string model;  // the one model to decide about; empty = every model heard of
  Policy policy;
  std::chrono::milliseconds interval{1000};
};

// Lives on the io_context's one thread.
class Autoscaler : public mesh::Component {
 public:
  // `bus` and `registry` outlive it. `replicas` may be null: then decisions are published and nothing else; otherwise
  // REQUIRES options.model. `on_ready` is called once, when the heads have been listened to long enough to decide.
  Autoscaler(boost::asio::io_context& io, mesh::Bus& bus, prometheus::Registry& registry, AutoscalerOptions options,
             std::unique_ptr<ReplicaSet> replicas, std::function<void()> on_ready);
  ~Autoscaler() override;

  // Stops deciding, then the replicas that it started.
  boost::asio::awaitable<void> stop() override;

 private:
  struct Model {
    History history;
    v1::ScaleDecision published;
    mesh::TimePoint published_at;
    mesh::TimePoint served_at;  // last seen with a head
  };

  boost::asio::awaitable<void> run();
  // False when there is nothing to decide on yet.
  boost::asio::awaitable<bool> listening();
  void decide_all();
  void decide_for(const std::string& name, Model& model);
  [[nodiscard]] Observation observe(const std::string& name);
  void carry_out(const Decision& decision);
  void publish(const std::string& name, Model& model, const Observation& seen, const Decision& decision);
  void collect_ended();

  boost::asio::io_context& io_;
  mesh::Bus& bus_;
  AutoscalerOptions options_;
  std::unique_ptr<ReplicaSet> replicas_;
  std::function<void()> on_ready_;
  AutoscalerMetrics metrics_;
  ReplicaWatch watch_;
  QueueWatch queues_;
  std::map<std::string, Model> models_;
  bool ready_ = false;
  bool running_ = true;
  bool stopping_ = false;
  mesh::TimePoint hearing_since_;
  bool hearing_ = false;
  boost::asio::steady_timer next_;   // decision
  boost::asio::steady_timer ended_;  // cancelled when run() has ended
  mesh::Subscription states_;
  mesh::Subscription queue_states_;
};

}  // namespace bellwether::autoscaler
