// What a client is told when its request fails.
#pragma once

#include <chrono>
#include <stdexcept>
#include <string>

#include "mesh/error.h"
#include "mesh/http_server.h"

namespace bellwether::gateway {

// What a client is told at least, where retrying may help.
inline constexpr std::chrono::milliseconds kRetryAfterMin{1000};

struct Failure {
  unsigned status = 500;
  std::string reason;      // one of a few words, for metrics and logs: "bad_request", "no_replica", "replica_gone", ...
  std::string message;     // a sentence or two for the client
  std::string param = {};  // the field at fault, or empty
  std::chrono::milliseconds retry_after{0};  // 0 = retrying will not help
  // For the log alone: what the mesh says of itself, with hosts, processes and files that are no client's affair.
  std::string detail = {};
};

class RequestFailed : public std::runtime_error {
 public:
  explicit RequestFailed(Failure failure) : std::runtime_error(failure.message), failure_(std::move(failure)) {}
  [[nodiscard]] const Failure& failure() const { return failure_; }

 private:
  Failure failure_;
};

// A failure of the mesh in the client's terms. An internal error's own words stay in the log.
[[nodiscard]] Failure failure_of(const mesh::Error& error);

// With Retry-After, in whole seconds, where retrying may help.
[[nodiscard]] mesh::HttpResponse response_of(const Failure& failure);

}  // namespace bellwether::gateway
