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

}  // namespace bellwether::scheduler
