#include "api-gateway/request_headers.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "api-gateway/generation_parameters.h"
#include "mesh/clock.h"
#include "mesh/trace.h"

namespace bellwether::gateway {

namespace {

constexpr size_t kStrategyBytesMax = 64;
constexpr uint32_t kQueueTimeoutMsMax = 3'600'000;

// Printable ASCII of a bounded length.
void check_text(const std::string& name, std::string_view text, size_t bytes_max) {
  const bool is_plain = std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (is_plain && text.size() <= bytes_max) return;
  refuse_field(name, fmt::format("must be at most {} printable characters without spaces", bytes_max));
}

template <class Number>
Number parse_number(const std::string& name, std::string_view text, Number min, Number max) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < min || number > max) {
    refuse_field(name, fmt::format("must be a whole number from {} to {}", min, max));
  }
  return number;
}

}  // namespace

void apply_headers(const mesh::HttpRequest& http, bool has_priority, v1::GenerateRequest& request) {
  if (const std::string_view trace = http.header("traceparent"); mesh::parse_traceparent(trace)) {
    request.set_traceparent(std::string(trace));
  }
  if (const std::string_view strategy = http.header("routing-strategy"); !strategy.empty()) {
    check_text("routing-strategy", strategy, kStrategyBytesMax);
    request.set_routing_strategy(std::string(strategy));
  }
  for (const char* name : {"x-session-id", "session-id"}) {
    const std::string_view session = http.header(name);
    if (session.empty() || !request.session_id().empty()) continue;
    check_text(name, session, kSessionIdBytesMax);
    request.set_session_id(std::string(session));
  }
  if (const std::string_view priority = http.header("x-priority"); !priority.empty() && !has_priority) {
    using Range = std::numeric_limits<int32_t>;
    request.set_priority(parse_number<int32_t>("x-priority", priority, Range::min(), Range::max()));
  }
  if (const std::string_view timeout = http.header("x-queue-timeout-ms"); !timeout.empty()) {
    const auto ms = parse_number<uint32_t>("x-queue-timeout-ms", timeout, 1, kQueueTimeoutMsMax);
    request.set_deadline_unix_ms(mesh::unix_ms_now() + ms);
  }
}

}  // namespace bellwether::gateway
