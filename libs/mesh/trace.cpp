#include "mesh/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace bellwether::mesh {
namespace {

constexpr size_t kTraceIdDigits = 32;
constexpr size_t kSpanIdDigits = 16;

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_id(std::string_view text) {
  return is_hex(text) && text.find_first_not_of('0') != std::string_view::npos;
}

bool has_sampled_bit(char digit) {
  return digit <= '9' ? (digit - '0') % 2 == 1 : (digit - 'a') % 2 == 1;  // 'b', 'd' and 'f' are odd
}

uint64_t unix_ns_now() {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(since_epoch).count());
}

}  // namespace

std::optional<TraceContext> parse_traceparent(std::string_view text) {
  const bool has_form = text.size() == 55 && text.starts_with("00-") && text[35] == '-' && text[52] == '-';
  if (!has_form || !is_id(text.substr(3, kTraceIdDigits)) || !is_id(text.substr(36, kSpanIdDigits)) ||
      !is_hex(text.substr(53))) {
    return std::nullopt;
  }
  return TraceContext{.trace_id = std::string(text.substr(3, kTraceIdDigits)),
                      .span_id = std::string(text.substr(36, kSpanIdDigits)),
                      .sampled = has_sampled_bit(text[54])};
}

std::string to_traceparent(const TraceContext& context) {
  return fmt::format("00-{}-{}-{}", context.trace_id, context.span_id, context.sampled ? "01" : "00");
}

void SpanBuffer::push(SpanData span) {
  if (spans_.size() >= spans_max_) {
    ++dropped_;
    return;
  }
  spans_.push_back(std::move(span));
}

std::vector<SpanData> SpanBuffer::take(size_t count_max) {
  const auto end = spans_.begin() + static_cast<std::ptrdiff_t>(std::min(count_max, spans_.size()));
  std::vector<SpanData> taken(std::make_move_iterator(spans_.begin()), std::make_move_iterator(end));
  spans_.erase(spans_.begin(), end);
  return taken;
}

Span::Span(std::shared_ptr<SpanBuffer> buffer, SpanData data)
    : buffer_(std::move(buffer)), data_(std::make_unique<SpanData>(std::move(data))) {}

Span& Span::operator=(Span&& other) noexcept {
  if (this == &other) return *this;
  end();
  buffer_ = std::move(other.buffer_);
  data_ = std::move(other.data_);
  return *this;
}

std::string Span::traceparent() const {
  return data_ ? to_traceparent(data_->context) : std::string();
}

void Span::set(std::string_view name, std::string_view value) {
  if (data_) data_->attributes.emplace_back(name, std::string(value));
}

void Span::set(std::string_view name, int64_t value) {
  if (data_) data_->attributes.emplace_back(name, value);
}

void Span::event(std::string_view name) {
  if (data_ && data_->events.size() < kEventsMax) data_->events.push_back({std::string(name), unix_ns_now()});
}

void Span::fail(std::string_view what) {
  if (data_) data_->error = what;
}

void Span::end() {
  if (!data_) return;
  data_->end_unix_ns = std::max(unix_ns_now(), data_->start_unix_ns);  // the clock may have been set
  buffer_->push(std::move(*data_));
  data_.reset();
}

Tracer::Tracer(std::shared_ptr<SpanBuffer> buffer, double ratio, uint64_t random_seed)
    : buffer_(std::move(buffer)), ratio_(ratio), random_(random_seed) {}

Span Tracer::continue_trace(std::string name, SpanKind kind, std::string_view traceparent) {
  if (!buffer_ || traceparent.empty()) return {};
  std::optional<TraceContext> parent = parse_traceparent(traceparent);
  if (!parent || !parent->sampled) return {};
  return make_span(std::move(name), kind, std::move(parent->trace_id), std::move(parent->span_id));
}

Span Tracer::begin_trace(std::string name, SpanKind kind, std::string_view traceparent) {
  if (!buffer_) return {};
  if (parse_traceparent(traceparent)) return continue_trace(std::move(name), kind, traceparent);
  if (std::uniform_real_distribution<>(0, 1)(random_) >= ratio_) return {};
  return make_span(std::move(name), kind, random_hex(kTraceIdDigits), "");
}

// All zeros, which no id may be, come once in 2^64 times.
std::string Tracer::random_hex(int digits) {
  std::string hex;
  for (; digits > 0; digits -= 16) hex += fmt::format("{:016x}", random_());
  return hex;
}

Span Tracer::make_span(std::string name, SpanKind kind, std::string trace_id, std::string parent_span_id) {
  return {buffer_,
          {.context = {.trace_id = std::move(trace_id), .span_id = random_hex(kSpanIdDigits)},
           .parent_span_id = std::move(parent_span_id),
           .name = std::move(name),
           .kind = kind,
           .start_unix_ns = unix_ns_now()}};
}

}  // namespace bellwether::mesh
