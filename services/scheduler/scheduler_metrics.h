// What a scheduler counts.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "bellwether/v1/mesh.pb.h"
#include "mesh/metrics.h"
#include "scheduler/kv_mirror.h"
#include "scheduler/replica_table.h"

namespace bellwether::scheduler {

inline constexpr size_t kModelsMax = 256;  // whose traffic is measured and shown apart

class SchedulerMetrics {
 public:
  explicit SchedulerMetrics(prometheus::Registry& registry);

  // `model` is a label only when a head has named it; clients may ask for any name, and they share "unknown".
  void count_request(const std::string& model, bool model_known, const std::string& outcome);
  void observe_placement(std::chrono::duration<double> took);
  void observe_wait(std::chrono::duration<double> took);  // in the queue
  // How a head answered the offer of a request: "placed", "refused", "silent", "unreachable".
  void count_offer(const std::string& answer);
  void count_canary(bool token_came);
  void count_ignored_state(const std::string& reason);
  void update(const ReplicaTable& replicas, const KvMirror& kv, size_t queued, size_t circuits_open);

 private:
  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Counter>& offers_;
  prometheus::Family<prometheus::Counter>& canaries_;
  prometheus::Family<prometheus::Counter>& ignored_states_;
  prometheus::Family<prometheus::Gauge>& replicas_;
  prometheus::Histogram& placement_seconds_;
  prometheus::Histogram& wait_seconds_;
  prometheus::Gauge& queued_;
  prometheus::Gauge& circuits_open_;
  prometheus::Gauge& reservations_;
  prometheus::Gauge& kv_blocks_;
  prometheus::Gauge& kv_bytes_;
  std::set<std::string> models_;                                             // that have been labels
  std::map<std::pair<std::string, std::string>, prometheus::Gauge*> shown_;  // in replicas_, by model and phase
};

}  // namespace bellwether::scheduler
