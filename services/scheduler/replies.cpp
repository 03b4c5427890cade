#include "scheduler/replies.h"

#include <utility>

namespace bellwether::scheduler {

v1::GenerateReply refused(v1::RefusalCode code, std::string message, uint32_t retry_after_ms) {
  v1::GenerateReply reply;
  reply.mutable_refused()->set_code(code);
  reply.mutable_refused()->set_message(std::move(message));
  reply.mutable_refused()->set_retry_after_ms(retry_after_ms);
  return reply;
}

const char* outcome_name(const v1::GenerateReply& reply) {
  if (reply.has_placed()) return "placed";
  switch (reply.refused().code()) {
    case v1::REFUSAL_CODE_NO_REPLICA:
      return "no_replica";
    case v1::REFUSAL_CODE_OVERLOADED:
      return "overloaded";
    case v1::REFUSAL_CODE_TENANT_LIMIT:
      return "tenant_limit";
    case v1::REFUSAL_CODE_DRAINING:
      return "sent_away";
    default:
      return "invalid";
  }
}

void describe(mesh::Span& span, const v1::GenerateRequest& request, const v1::GenerateReply& reply) {
  if (!span.recorded()) return;
  span.set("bellwether.request_id", request.request_id());
  span.set("bellwether.attempt", request.attempt());
  span.set("gen_ai.request.model", request.model());
  if (reply.has_placed()) return span.set("bellwether.replica_id", reply.placed().replica_id());
  span.set("error.type", outcome_name(reply));
  span.fail(reply.refused().message());
}

}  // namespace bellwether::scheduler
