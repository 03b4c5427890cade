#include "mesh/trace_exporter.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "mesh/clock.h"
#include "mesh/error.h"
#include "mesh/http_post.h"
#include "mesh/log.h"

namespace bellwether::mesh {
namespace asio = boost::asio;
namespace json = boost::json;
using std::chrono::milliseconds;
namespace {

constexpr std::string_view kScheme = "http://";
constexpr uint16_t kPortDefault = 4318;
constexpr milliseconds kPostTimeMax{5000};
constexpr milliseconds kRetryWaitMin{500};
constexpr milliseconds kRetryWaitMax{30000};

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);

json::object attribute(std::string_view name, const SpanValue& value) {
  json::object typed;
  if (const auto* number = std::get_if<int64_t>(&value)) {
    typed["intValue"] = std::to_string(*number);  // 64-bit numbers are strings in protobuf's JSON
  } else {
    typed["stringValue"] = std::get<std::string>(value);
  }
  return {{"key", name}, {"value", std::move(typed)}};
}

json::object span_json(const SpanData& span) {
  json::array attributes;
  for (const auto& [name, value] : span.attributes) attributes.push_back(attribute(name, value));
  json::array events;
  for (const SpanEvent& event : span.events) {
    events.push_back(json::object{{"name", event.name}, {"timeUnixNano", std::to_string(event.unix_ns)}});
  }
  json::object out{{"traceId", span.context.trace_id},
                   {"spanId", span.context.span_id},
                   {"name", span.name},
                   {"kind", span.kind == SpanKind::kServer ? 2 : 5},
                   {"startTimeUnixNano", std::to_string(span.start_unix_ns)},
                   {"endTimeUnixNano", std::to_string(span.end_unix_ns)},
                   {"attributes", std::move(attributes)},
                   {"events", std::move(events)}};
  if (!span.parent_span_id.empty()) out["parentSpanId"] = span.parent_span_id;
  if (span.error) out["status"] = json::object{{"code", 2}, {"message", *span.error}};
  return out;
}

// What OTLP says is worth another try.
bool is_retryable(unsigned status) {
  return status == 429 || status == 502 || status == 503 || status == 504;
}

}  // namespace

CollectorUrl parse_collector_url(const std::string& text) {
  const auto fail = [&](const char* why) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("{:?} {}", text, why));
  };
  if (text.starts_with("https://")) fail("needs TLS, which is not supported: run a collector beside this process");
  if (!text.starts_with(kScheme)) fail("is not http://HOST:PORT");
  const size_t slash = std::min(text.find('/', kScheme.size()), text.size());
  std::string host = text.substr(kScheme.size(), slash - kScheme.size());
  const bool has_port = host.rfind(':') != std::string::npos && !host.ends_with(']');
  if (!has_port) host += fmt::format(":{}", kPortDefault);
  std::string path = text.substr(slash);
  const auto is_plain = [](char c) { return c > ' ' && c <= '~' && c != '?' && c != '#'; };
  if (!std::all_of(path.begin(), path.end(), is_plain)) fail("is not http://HOST:PORT/PATH");
  while (path.ends_with('/')) path.pop_back();
  return {parse_address(host), path + "/v1/traces"};
}

std::string otlp_json(const std::vector<SpanData>& spans, std::string_view service, std::string_view instance) {
  json::array listed;
  for (const SpanData& span : spans) listed.push_back(span_json(span));
  const json::array about = {attribute("service.name", fmt::format("bellwether-{}", service)),
                             attribute("service.version", std::string(BELLWETHER_VERSION)),
                             attribute("service.instance.id", std::string(instance))};
  const json::object scope{{"scope", {{"name", "bellwether"}, {"version", BELLWETHER_VERSION}}},
                           {"spans", std::move(listed)}};
  return json::serialize(json::object{
      {"resourceSpans",
       json::array{json::object{{"resource", {{"attributes", about}}}, {"scopeSpans", json::array{scope}}}}}});
}

class TraceExporter::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(asio::any_io_executor executor, std::shared_ptr<SpanBuffer> buffer, CollectorUrl collector, std::string service,
       std::string instance)
      : executor_(std::move(executor)),
        buffer_(std::move(buffer)),
        collector_(std::move(collector)),
        service_(std::move(service)),
        instance_(std::move(instance)),
        timer_(executor_),
        idle_(executor_) {}

  void start() {
    running_ = true;
    asio::co_spawn(executor_, [self = shared_from_this()] { return self->run(); }, asio::detached);
  }

  asio::awaitable<void> stop(milliseconds time_max) {
    stopping_ = true;
    timer_.cancel();
    idle_.expires_after(time_max);
    while (running_ && steady_now() < idle_.expiry()) co_await idle_.async_wait(kNoThrow);
    abandoned_ = true;
  }

  void abandon() {
    stopping_ = abandoned_ = true;
    timer_.cancel();
  }

  TraceCounters counters_;

 private:
  asio::awaitable<void> run() {
    milliseconds wait = kBatchTime;
    milliseconds retry_wait = kRetryWaitMin;
    while (!abandoned_ && !(stopping_ && buffer_->size() + held_.size() == 0)) {
      if (!stopping_) co_await pause(wait);
      const bool sent = co_await send_batch();
      if (sent) {
        retry_wait = kRetryWaitMin;
        wait = buffer_->size() >= kBatchSpansMax ? milliseconds(0) : kBatchTime;
      } else if (stopping_) {
        break;
      } else {
        wait = retry_wait;
        retry_wait = std::min(2 * retry_wait, kRetryWaitMax);
      }
    }
    running_ = false;
    idle_.cancel();
  }

  asio::awaitable<void> pause(milliseconds time) {
    timer_.expires_after(time);
    co_await timer_.async_wait(kNoThrow);
  }

  // False: not now.
  asio::awaitable<bool> send_batch() {
    if (held_.empty()) held_ = buffer_->take(kBatchSpansMax);
    if (held_.empty()) co_return true;
    std::string body = otlp_json(held_, service_, instance_);
    HttpPostResult result = co_await http_post(executor_, collector_.address, collector_.path, std::move(body),
                                               "application/json", kPostTimeMax);
    if (result.status >= 200 && result.status < 300) {
      counters_.exported += held_.size();
      if (std::exchange(failing_, false)) log::info("traces are taken again");
    } else {
      tell(result);
      if (result.status == 0 || is_retryable(result.status)) co_return false;
      counters_.refused += held_.size();
    }
    held_.clear();
    co_return true;
  }

  // Once for each outage.
  void tell(const HttpPostResult& result) {
    if (std::exchange(failing_, true)) return;
    log::warning("traces are not taken",
                 {{"collector", to_string(collector_.address)}, {"status", result.status}, {"error", result.error}});
  }

  asio::any_io_executor executor_;
  std::shared_ptr<SpanBuffer> buffer_;
  const CollectorUrl collector_;
  const std::string service_;
  const std::string instance_;
  std::vector<SpanData> held_;  // being sent
  bool failing_ = false;
  bool stopping_ = false;
  bool abandoned_ = false;
  bool running_ = false;
  asio::steady_timer timer_;
  asio::steady_timer idle_;  // cancelled when run() has ended
};

TraceExporter::TraceExporter(asio::any_io_executor executor, std::shared_ptr<SpanBuffer> buffer, CollectorUrl collector,
                             std::string service, std::string instance)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(buffer), std::move(collector), std::move(service),
                                   std::move(instance))) {
  impl_->start();
}

TraceExporter::~TraceExporter() {
  impl_->abandon();
}

TraceCounters TraceExporter::counters() const {
  return impl_->counters_;
}

asio::awaitable<void> TraceExporter::stop(milliseconds time_max) {
  return impl_->stop(time_max);
}

}  // namespace bellwether::mesh
