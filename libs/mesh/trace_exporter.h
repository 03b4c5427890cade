// Sends finished spans to a collector of OpenTelemetry, as OTLP in JSON over HTTP.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include "mesh/address.h"
#include "mesh/trace.h"

namespace bellwether::mesh {

struct CollectorUrl {
  Address address;
  std::string path;  // where traces are posted
};

// http://HOST[:PORT][/PATH]; port 4318 unless given, to which /v1/traces is added as OTLP wants it. Throws
// Error{kInvalidArgument} for anything else; there is no TLS.
[[nodiscard]] CollectorUrl parse_collector_url(const std::string& text);

// The body that OTLP wants for these spans of one process.
[[nodiscard]] std::string otlp_json(const std::vector<SpanData>& spans, std::string_view service,
                                    std::string_view instance);

struct TraceCounters {
  uint64_t exported = 0;
  uint64_t refused = 0;  // by the collector, for good; they are gone
};

// Lives on one single-threaded executor. Spans that a collector does not take, because it is away or busy, are sent
// again until the buffer is full.
class TraceExporter {
 public:
  static constexpr size_t kBatchSpansMax = 512;
  static constexpr std::chrono::milliseconds kBatchTime{500};  // a span waits for others at most so long

  TraceExporter(boost::asio::any_io_executor executor, std::shared_ptr<SpanBuffer> buffer, CollectorUrl collector,
                std::string service, std::string instance);
  ~TraceExporter();
  TraceExporter(const TraceExporter&) = delete;
  TraceExporter& operator=(const TraceExporter&) = delete;

  [[nodiscard]] TraceCounters counters() const;

  // Sends what there is, if that takes no longer than `time_max`. May be called twice.
  boost::asio::awaitable<void> stop(std::chrono::milliseconds time_max);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace bellwether::mesh
