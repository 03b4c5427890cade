#include "api-gateway/access/limit_headers.h"

#include <fmt/format.h>

namespace bellwether::gateway {
namespace {

void append(mesh::HttpHeaders& headers, const char* what, const LimitState& state) {
  if (state.limit == 0) return;
  headers.emplace_back(fmt::format("x-ratelimit-limit-{}", what), fmt::to_string(state.limit));
  headers.emplace_back(fmt::format("x-ratelimit-remaining-{}", what), fmt::to_string(state.remaining));
  headers.emplace_back(fmt::format("x-ratelimit-reset-{}", what), reset_text(state.reset));
}

}  // namespace

mesh::HttpHeaders limit_headers(const KeyState& state) {
  mesh::HttpHeaders headers;
  append(headers, "requests", state.requests);
  append(headers, "tokens", state.tokens);
  return headers;
}

std::string reset_text(std::chrono::nanoseconds time) {
  const int64_t ms = std::chrono::ceil<std::chrono::milliseconds>(time).count();
  if (ms < 1000) return fmt::format("{}ms", ms);
  const int64_t seconds = (ms + 999) / 1000;
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m{}s", seconds / 60, seconds % 60);
  return fmt::format("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

Failure failure_of(const Denial& denial, int64_t tokens) {
  const auto retry_after = std::chrono::ceil<std::chrono::milliseconds>(denial.retry_after);
  switch (denial.reason) {
    case DenialReason::kRequests:
      return {429, "requests_per_minute",
              fmt::format("this API key's limit of {} requests per minute is reached", denial.limit), "", retry_after};
    case DenialReason::kTokens:
      return {429, "tokens_per_minute",
              fmt::format("this API key's limit of {} tokens per minute is reached: {} are used, this request may need "
                          "{} more",
                          denial.limit, denial.used, tokens),
              "", retry_after};
    case DenialReason::kConcurrency:
      return {429, "concurrency",
              fmt::format("this API key has {} requests running, as many as it may have at once", denial.used), "",
              retry_after};
    case DenialReason::kTooManyTokens:
      break;
  }
  return {429, "too_many_tokens",
          fmt::format("this request may need {} tokens, prompt and output together, more than this API key's limit of "
                      "{} per minute: send a shorter prompt or a smaller `max_tokens`",
                      tokens, denial.limit)};
}

}  // namespace bellwether::gateway
