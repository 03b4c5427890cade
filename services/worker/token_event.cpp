#include "worker/token_event.h"

namespace bellwether::worker {
namespace {

v1::TokenEvent event_of(const LiveRequest& request, const LiveChoice& choice) {
  v1::TokenEvent event;
  event.set_request_id(request.request_id);
  event.set_attempt(request.attempt);
  event.set_choice(choice.index);
  return event;
}

void set_usage(const LiveRequest& request, const LiveChoice& choice, v1::TokenEvent& event) {
  v1::Usage& usage = *event.mutable_usage();
  usage.set_prompt_tokens(static_cast<uint32_t>(request.prompt_tokens));
  usage.set_completion_tokens(static_cast<uint32_t>(choice.output_tokens));
  usage.set_cached_prompt_tokens(static_cast<uint32_t>(choice.cached_prompt_tokens));
  usage.set_draft_tokens(static_cast<uint32_t>(choice.draft_tokens));
  usage.set_draft_tokens_accepted(static_cast<uint32_t>(choice.draft_tokens_accepted));
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

void set_prompt_logprobs(const LiveChoice& choice, const engine::SequenceOutput& output, v1::TokenEvent& event) {
  if (output.prompt_logprobs.empty()) return;
  // The prompt's first token has none, so that the count of those that came before is one less than the next index.
  const auto before = choice.prompt_logprobs_given - static_cast<int64_t>(output.prompt_logprobs.size());
  event.set_prompt_first_index(static_cast<uint32_t>(before + 1));
  for (const auto& logprob : output.prompt_logprobs) set(logprob, *event.add_prompt_logprobs());
  for (const auto& logprob : output.prompt_top_logprobs) set(logprob, *event.add_prompt_top_logprobs());
}

v1::TokenEvent early_end(const LiveRequest& request, const LiveChoice& choice, v1::FinishReason reason,
                         const std::string& message) {
  v1::TokenEvent event = event_of(request, choice);
  event.set_first_index(static_cast<uint32_t>(choice.output_tokens));
  event.set_finish_reason(reason);
  event.set_error(message);
  set_usage(request, choice, event);
  return event;
}

}  // namespace

v1::TokenEvent token_event(const LiveRequest& request, const LiveChoice& choice, const engine::SequenceOutput& output) {
  v1::TokenEvent event = event_of(request, choice);
  event.set_first_index(static_cast<uint32_t>(output.first_index));
  for (const int32_t id : output.ids) event.add_ids(static_cast<uint32_t>(id));
  for (const auto& logprob : output.logprobs) set(logprob, *event.add_logprobs());
  for (const auto& logprob : output.top_logprobs) set(logprob, *event.add_top_logprobs());
  set_prompt_logprobs(choice, output, event);
  event.set_finish_reason(reason_of(output.finish));
  if (output.finish != engine::Finish::kNone) set_usage(request, choice, event);
  return event;
}

v1::TokenEvent error_event(const LiveRequest& request, const LiveChoice& choice, const std::string& message) {
  return early_end(request, choice, v1::FINISH_REASON_ERROR, message);
}

v1::TokenEvent lost_event(const LiveRequest& request, const LiveChoice& choice, const std::string& message) {
  return early_end(request, choice, v1::FINISH_REASON_LOST, message);
}

v1::TokenEvent lost_event(const v1::ResendRequest& request, const v1::ResendRequest::From& from,
                          const std::string& message) {
  v1::TokenEvent event;
  event.set_request_id(request.request_id());
  event.set_attempt(request.attempt());
  event.set_choice(from.choice());
  event.set_first_index(from.next_index());
  event.set_finish_reason(v1::FINISH_REASON_LOST);
  event.set_error(message);
  return event;
}

}  // namespace bellwether::worker
