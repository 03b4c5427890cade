// Traces: what each service did for a request, and when, as spans in OpenTelemetry's terms. The trace context travels
// in the requests (W3C's traceparent); finished spans wait in a SpanBuffer for whoever exports them (trace_exporter.h).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace bellwether::mesh {

// Where in which trace something happens.
struct TraceContext {
  std::string trace_id;  // 32 small hexadecimal digits, not all zeros
  std::string span_id;   // 16
  bool sampled = true;   // whether it is to be recorded
};

// 00-TRACEID-SPANID-FLAGS; nothing when `text` is no such thing.
[[nodiscard]] std::optional<TraceContext> parse_traceparent(std::string_view text);
[[nodiscard]] std::string to_traceparent(const TraceContext& context);

using SpanValue = std::variant<std::string, int64_t>;

struct SpanEvent {
  std::string name;
  uint64_t unix_ns = 0;
};

enum class SpanKind { kServer, kConsumer };

struct SpanData {
  TraceContext context;
  std::string parent_span_id = {};  // empty: the trace begins here
  std::string name = {};
  SpanKind kind = SpanKind::kServer;
  uint64_t start_unix_ns = 0;
  uint64_t end_unix_ns = 0;
  std::vector<std::pair<std::string, SpanValue>> attributes = {};
  std::vector<SpanEvent> events = {};
  std::optional<std::string> error = {};  // what failed
};

// Finished spans, oldest first. When full it drops new ones.
class SpanBuffer {
 public:
  explicit SpanBuffer(size_t spans_max) : spans_max_(spans_max) {}

  void push(SpanData span);
  [[nodiscard]] std::vector<SpanData> take(size_t count_max);
  [[nodiscard]] size_t size() const { return spans_.size(); }
  [[nodiscard]] uint64_t dropped() const { return dropped_; }

 private:
  const size_t spans_max_;
  std::deque<SpanData> spans_;
  uint64_t dropped_ = 0;
};

// Something that a service does for a request; it ends when this object does. One that is not recorded, as a default
// one, does nothing and costs nothing.
class Span {
 public:
  static constexpr size_t kEventsMax = 32;

  Span() = default;
  ~Span() { end(); }
  Span(Span&& other) noexcept = default;
  Span& operator=(Span&& other) noexcept;

  [[nodiscard]] bool recorded() const { return data_ != nullptr; }
  // For what is done elsewhere as a part of this; "" when this is not recorded.
  [[nodiscard]] std::string traceparent() const;

  void set(std::string_view name, std::string_view value);
  void set(std::string_view name, int64_t value);
  void event(std::string_view name);  // happened now; the first kEventsMax count
  void fail(std::string_view what);
  void end();

 private:
  friend class Tracer;
  Span(std::shared_ptr<SpanBuffer> buffer, SpanData data);

  std::shared_ptr<SpanBuffer> buffer_;
  std::unique_ptr<SpanData> data_;
};

// Begins spans. Not thread-safe, nor are its spans: all of them live on one thread.
class Tracer {
 public:
  Tracer() = default;  // records nothing
  // `ratio`: of the requests that come without a trace, how many begin one, 0 to 1.
  Tracer(std::shared_ptr<SpanBuffer> buffer, double ratio, uint64_t random_seed);

  // A part of what `traceparent` names, if that is recorded.
  [[nodiscard]] Span continue_trace(std::string name, SpanKind kind, std::string_view traceparent);
  // The same for a request from outside: without a valid `traceparent` a trace begins here, by the ratio.
  [[nodiscard]] Span begin_trace(std::string name, SpanKind kind, std::string_view traceparent);

 private:
  [[nodiscard]] std::string random_hex(int digits);
  [[nodiscard]] Span make_span(std::string name, SpanKind kind, std::string trace_id, std::string parent_span_id);

  std::shared_ptr<SpanBuffer> buffer_;  // nullptr = records nothing
  double ratio_ = 0;
  std::mt19937_64 random_;
};

}  // namespace bellwether::mesh
