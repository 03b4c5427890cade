// Metrics in Prometheus' text format, on prometheus-cpp. Services register families with the library's own builders;
// keep the counters you get (the registry owns them) and update them from any thread.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <memory>
#include <string>

namespace bellwether::mesh {

inline constexpr const char* kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

[[nodiscard]] std::string render_metrics(const prometheus::Registry& registry);

}  // namespace bellwether::mesh
