#include "worker/token_event.h"

namespace bellwether::worker {
namespace {

void set_usage(const LiveRequest& request, v1::TokenEvent& event) {
  event.mutable_usage()->set_prompt_tokens(static_cast<uint32_t>(request.prompt_tokens));
  event.mutable_usage()->set_completion_tokens(static_cast<uint32_t>(request.output_tokens));
}

void set(const engine::TokenLogprob& from, v1::TokenLogprob& to) {
  to.set_id(static_cast<uint32_t>(from.id));
  to.set_logprob(from.logprob);
}

v1::FinishReason reason_of(engine::Finish finish) {
  switch (finish) {
    case engine::Finish::kStop:
      return v1::FINISH_REASON_STOP;
    case engine::Finish::kLength:
      return v1::FINISH_REASON_LENGTH;
    case engine::Finish::kNone:
      break;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

}  // namespace

v1::TokenEvent token_event(const LiveRequest& request, const engine::SequenceOutput& output) {
  v1::TokenEvent event;
  event.set_request_id(request.request_id);
  event.set_attempt(request.attempt);
  event.set_first_index(static_cast<uint32_t>(output.first_index));
  for (const int32_t id : output.ids) event.add_ids(static_cast<uint32_t>(id));
  for (const auto& logprob : output.logprobs) set(logprob, *event.add_logprobs());
  for (const auto& logprob : output.top_logprobs) set(logprob, *event.add_top_logprobs());
  event.set_finish_reason(reason_of(output.finish));
  if (output.finish != engine::Finish::kNone) set_usage(request, event);
  return event;
}

v1::TokenEvent error_event(const LiveRequest& request, const std::string& message) {
  v1::TokenEvent event;
  event.set_request_id(request.request_id);
  event.set_attempt(request.attempt);
  event.set_first_index(static_cast<uint32_t>(request.output_tokens));
  event.set_finish_reason(v1::FINISH_REASON_ERROR);
  event.set_error(message);
  set_usage(request, event);
  return event;
}

}  // namespace bellwether::worker
