// What the autoscaler shows.
#pragma once

#include <map>
#include <string>

#include "autoscaler/policy.h"
#include "mesh/metrics.h"

namespace bellwether::autoscaler {

class AutoscalerMetrics {
 public:
  explicit AutoscalerMetrics(prometheus::Registry& registry);

  // `before`: the number desired until now.
  void update(const std::string& model, const Observation& seen, const Decision& decision, uint32_t before);
  // The model's gauges go; its counters stay.
  void forget(const std::string& model);

 private:
  struct Gauges {
    prometheus::Gauge* desired;
    prometheus::Gauge* ready;
    prometheus::Gauge* pending;
    prometheus::Gauge* kv_use_mean;  // null while no replica is heard: no data is not zero
  };

  prometheus::Family<prometheus::Gauge>& desired_;
  prometheus::Family<prometheus::Gauge>& ready_;
  prometheus::Family<prometheus::Gauge>& pending_;
  prometheus::Family<prometheus::Gauge>& kv_use_mean_;
  prometheus::Family<prometheus::Counter>& decisions_;
  std::map<std::string, Gauges> models_;
};

}  // namespace bellwether::autoscaler
