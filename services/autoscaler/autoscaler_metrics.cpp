#include "autoscaler/autoscaler_metrics.h"

namespace bellwether::autoscaler {
namespace {

prometheus::Family<prometheus::Gauge>& gauges(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

}  // namespace

AutoscalerMetrics::AutoscalerMetrics(prometheus::Registry& registry)
    : desired_(gauges(registry, "bellwether_autoscaler_replicas_desired", "Replicas there should be")),
      ready_(gauges(registry, "bellwether_autoscaler_replicas_ready", "Replicas that take work")),
      pending_(gauges(registry, "bellwether_autoscaler_replicas_pending", "Replicas started and not yet ready")),
      kv_use_mean_(gauges(registry, "bellwether_autoscaler_kv_cache_use_mean",
                          "Mean KV-cache use of the ready replicas heard lately, 0 to 1")),
      decisions_(prometheus::BuildCounter()
                     .Name("bellwether_autoscaler_decisions_total")
                     .Help("Decisions made, by what became of the number desired")
                     .Register(registry)) {}

void AutoscalerMetrics::update(const std::string& model, const Observation& seen, const Decision& decision,
                               uint32_t before) {
  const prometheus::Labels labels{{"model", model}};
  auto found = models_.find(model);
  if (found == models_.end()) {
    found = models_.emplace(model, Gauges{&desired_.Add(labels), &ready_.Add(labels), &pending_.Add(labels), nullptr})
                .first;
  }
  Gauges& shown = found->second;
  shown.desired->Set(decision.desired);
  shown.ready->Set(seen.ready());
  shown.pending->Set(seen.pending);
  if (decision.kv_use_mean) {
    if (shown.kv_use_mean == nullptr) shown.kv_use_mean = &kv_use_mean_.Add(labels);
    shown.kv_use_mean->Set(*decision.kv_use_mean);
  } else if (shown.kv_use_mean != nullptr) {
    kv_use_mean_.Remove(shown.kv_use_mean);
    shown.kv_use_mean = nullptr;
  }
  const char* direction = decision.desired > before ? "up" : decision.desired < before ? "down" : "keep";
  decisions_.Add({{"model", model}, {"direction", direction}}).Increment();
}

void AutoscalerMetrics::forget(const std::string& model) {
  const auto found = models_.find(model);
  if (found == models_.end()) return;
  desired_.Remove(found->second.desired);
  ready_.Remove(found->second.ready);
  pending_.Remove(found->second.pending);
  if (found->second.kv_use_mean != nullptr) kv_use_mean_.Remove(found->second.kv_use_mean);
  models_.erase(found);
}

}  // namespace bellwether::autoscaler
