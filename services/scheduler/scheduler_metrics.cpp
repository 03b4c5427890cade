#include "scheduler/scheduler_metrics.h"

#include <algorithm>

namespace bellwether::scheduler {
namespace {

const char* phase_name(v1::ReplicaPhase phase) {
  switch (phase) {
    case v1::REPLICA_PHASE_LOADING:
      return "loading";
    case v1::REPLICA_PHASE_READY:
      return "ready";
    case v1::REPLICA_PHASE_DRAINING:
      return "draining";
    default:
      return "other";  // ReplicaTable holds no others
  }
}

prometheus::Family<prometheus::Counter>& counters(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

}  // namespace

SchedulerMetrics::SchedulerMetrics(prometheus::Registry& registry)
    : requests_(counters(registry, "bellwether_scheduler_requests_total", "Requests answered, by outcome")),
      offers_(counters(registry, "bellwether_scheduler_offers_total", "Requests offered to heads, by their answer")),
      canaries_(counters(registry, "bellwether_scheduler_canaries_total",
                         "Requests of one token sent to heads to see whether they work, by outcome")),
      ignored_states_(
          counters(registry, "bellwether_scheduler_states_ignored_total", "Heartbeats not used, by reason")),
      replicas_(prometheus::BuildGauge()
                    .Name("bellwether_scheduler_replicas")
                    .Help("Heads heard from within the heartbeat deadline, by phase")
                    .Register(registry)),
      placement_seconds_(prometheus::BuildHistogram()
                             .Name("bellwether_scheduler_placement_seconds")
                             .Help("From the arrival of a request to its answer, the heads' answers included")
                             .Register(registry)
                             .Add({}, prometheus::Histogram::BucketBoundaries{0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01,
                                                                              0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5})),
      wait_seconds_(prometheus::BuildHistogram()
                        .Name("bellwether_scheduler_queue_wait_seconds")
                        .Help("Time in the queue of requests that had to wait, those refused in the end among them")
                        .Register(registry)
                        .Add({}, prometheus::Histogram::BucketBoundaries{0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
                                                                         60, 120, 300})),
      queued_(prometheus::BuildGauge()
                  .Name("bellwether_scheduler_queued_requests")
                  .Help("Requests that wait in the queue")
                  .Register(registry)
                  .Add({})),
      circuits_open_(prometheus::BuildGauge()
                         .Name("bellwether_scheduler_circuits_open")
                         .Help("Heads that get no requests because they have failed or stalled")
                         .Register(registry)
                         .Add({})),
      reservations_(prometheus::BuildGauge()
                        .Name("bellwether_scheduler_reservations")
                        .Help("Requests reserved on heads and not yet freed")
                        .Register(registry)
                        .Add({})),
      kv_blocks_(prometheus::BuildGauge()
                     .Name("bellwether_scheduler_kv_index_blocks")
                     .Help("Different cached blocks of heads that are kept in mind")
                     .Register(registry)
                     .Add({})),
      kv_bytes_(prometheus::BuildGauge()
                    .Name("bellwether_scheduler_kv_index_bytes")
                    .Help("Memory that they take")
                    .Register(registry)
                    .Add({})) {}

void SchedulerMetrics::count_request(const std::string& model, bool model_known, const std::string& outcome) {
  const bool label = models_.contains(model) || (model_known && models_.size() < kModelsMax);
  if (label) models_.insert(model);
  requests_.Add({{"model", label ? model : "unknown"}, {"outcome", outcome}}).Increment();
}

void SchedulerMetrics::observe_placement(std::chrono::duration<double> took) {
  placement_seconds_.Observe(took.count());
}

void SchedulerMetrics::observe_wait(std::chrono::duration<double> took) {
  wait_seconds_.Observe(took.count());
}

void SchedulerMetrics::count_offer(const std::string& answer) {
  offers_.Add({{"answer", answer}}).Increment();
}

void SchedulerMetrics::count_canary(bool token_came) {
  canaries_.Add({{"outcome", token_came ? "token" : "nothing"}}).Increment();
}

void SchedulerMetrics::count_ignored_state(const std::string& reason) {
  ignored_states_.Add({{"reason", reason}}).Increment();
}

void SchedulerMetrics::update(const ReplicaTable& replicas, const KvMirror& kv, size_t queued, size_t circuits_open) {
  std::map<std::pair<std::string, std::string>, int> counts;
  replicas.for_each([&](const v1::ReplicaState& state) { ++counts[{state.model(), phase_name(state.phase())}]; });
  for (const auto& [key, count] : counts) {
    prometheus::Gauge*& gauge = shown_[key];
    if (gauge == nullptr) gauge = &replicas_.Add({{"model", key.first}, {"phase", key.second}});
    gauge->Set(count);
  }
  // A label set that nobody stands behind goes, so that models that come and go leave nothing behind.
  std::erase_if(shown_, [&](const auto& entry) {
    if (counts.contains(entry.first)) return false;
    replicas_.Remove(entry.second);
    return true;
  });
  queued_.Set(static_cast<double>(queued));
  circuits_open_.Set(static_cast<double>(circuits_open));
  reservations_.Set(static_cast<double>(replicas.reservations()));
  kv_blocks_.Set(static_cast<double>(kv.index().blocks()));
  kv_bytes_.Set(static_cast<double>(kv.index().bytes()));
}

}  // namespace bellwether::scheduler
