#include "api-gateway/request_headers.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "api-gateway/generation_parameters.h"
#include "mesh/clock.h"

namespace bellwether::gateway {

namespace {

constexpr size_t kStrategyBytesMax = 64;
constexpr uint32_t kQueueTimeoutMsMax = 3'600'000;

bool is_hex_id(std::string_view text) {
  const bool is_hex =
      std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  return is_hex && text.find_first_not_of('0') != std::string_view::npos;
}

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

bool is_traceparent(std::string_view text) {
  return text.size() == 55 && text.starts_with("00-") && text[35] == '-' && text[52] == '-' &&
         is_hex_id(text.substr(3, 32)) && is_hex_id(text.substr(36, 16)) &&
         (is_hex_id(text.substr(53, 2)) || text.substr(53, 2) == "00");
}

void apply_headers(const mesh::HttpRequest& http, bool has_priority, v1::GenerateRequest& request) {
  if (const std::string_view trace = http.header("traceparent"); is_traceparent(trace)) {
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
