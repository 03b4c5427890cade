// What the log, the metrics and the traces say about a request.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "api-gateway/access/gatekeeper.h"
#include "api-gateway/request_id.h"
#include "mesh/clock.h"
#include "mesh/trace.h"

namespace bellwether::gateway {

struct Access {
  RequestId id;
  const char* path;
  mesh::TimePoint arrived;
  Caller caller = {};
  std::unique_ptr<Admitted> admitted = {};  // counts against the caller's limits
  mesh::Span span = {};
  mesh::HttpHeaders headers = {};  // of the reply, beside its id
  unsigned status = 200;
  std::string model = {};   // once it is known to be one of the mesh's
  std::string reason = {};  // of the failure
  std::string detail = {};  // of the failure
  bool client_gone = false;
  bool placed = false;
  uint32_t prompt_tokens = 0;
  uint32_t completion_tokens = 0;
};

}  // namespace bellwether::gateway
