#include "api-gateway/failure.h"

namespace bellwether::gateway {

Failure failure_of(const mesh::Error& error) {
  constexpr std::chrono::milliseconds kRetryAfter{1000};
  switch (error.code()) {
    case mesh::ErrorCode::kInvalidArgument:
      return {400, "bad_request", error.what(), error.field()};
    case mesh::ErrorCode::kNotFound:
      return {404, "not_found", error.what(), error.field()};
    case mesh::ErrorCode::kUnavailable:
      return {503, "unavailable", error.what(), "", kRetryAfter};
    case mesh::ErrorCode::kResourceExhausted:
      return {503, "overloaded", error.what(), "", kRetryAfter};
    case mesh::ErrorCode::kDeadlineExceeded:
      return {504, "timeout", error.what(), "", kRetryAfter};
    case mesh::ErrorCode::kInternal:
      break;
  }
  return {500, "internal", "the gateway could not answer; its log has the reason under this request's id"};
}

mesh::HttpResponse response_of(const Failure& failure) {
  mesh::HttpResponse response;
  response.status = failure.status;
  response.body = mesh::http_error_body(failure.status, failure.message, failure.param);
  if (failure.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (failure.retry_after.count() > 0) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(failure.retry_after);
    response.headers.emplace_back("Retry-After", std::to_string(seconds.count()));
  }
  return response;
}

}  // namespace bellwether::gateway
