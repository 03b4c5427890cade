#include "worker/admission.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string_view>

namespace bellwether::worker {
namespace {

using Ids = google::protobuf::RepeatedField<uint32_t>;

engine::SamplingParams sampling_of(const v1::Sampling& sampling) {
  return {.temperature = sampling.temperature(),
          .top_p = sampling.top_p(),
          .top_k = static_cast<int32_t>(sampling.top_k()),
          .seed = sampling.seed(),
          .logprobs = sampling.logprobs(),
          .top_logprobs = static_cast<int32_t>(sampling.top_logprobs())};
}

std::string fault_in_id(std::string_view field, const std::string& id) {
  if (id.empty()) return fmt::format("{} is empty", field);
  if (id.size() > kIdBytesMax) return fmt::format("{} is longer than {} bytes", field, kIdBytesMax);
  return {};
}

std::string fault_in_tokens(std::string_view field, const Ids& ids, int64_t vocab_size) {
  const auto beyond = std::find_if(ids.begin(), ids.end(), [&](uint32_t id) { return id >= vocab_size; });
  if (beyond == ids.end()) return {};
  return fmt::format("{}[{}] is {}, outside the vocabulary of {}", field, beyond - ids.begin(), *beyond, vocab_size);
}

std::string fault_in_lengths(const v1::GenerateRequest& request, int64_t context_tokens_max) {
  if (request.prompt_ids().empty()) return "prompt_ids is empty";
  if (request.max_tokens() == 0) return "max_tokens is 0";
  if (request.max_tokens() <= static_cast<uint32_t>(request.output_ids_size())) {
    return fmt::format("max_tokens is {}, but output_ids has {} already", request.max_tokens(),
                       request.output_ids_size());
  }
  const int64_t tokens = int64_t{request.prompt_ids_size()} + request.max_tokens();
  if (tokens > context_tokens_max) {
    return fmt::format("prompt_ids and max_tokens make {} tokens, more than the {} this replica can hold", tokens,
                       context_tokens_max);
  }
  if (request.stop_ids_size() > kStopIdsMax) return fmt::format("stop_ids has more than {} ids", kStopIdsMax);
  return {};
}

std::string fault_in_sampling(const v1::GenerateRequest& request) {
  if (!request.has_sampling()) return "sampling is missing";
  constexpr auto kMax = static_cast<uint32_t>(std::numeric_limits<int32_t>::max());
  if (request.sampling().top_k() > kMax) return fmt::format("sampling.top_k is more than {}", kMax);
  if (request.sampling().top_logprobs() > kMax) return fmt::format("sampling.top_logprobs is more than {}", kMax);
  const std::string fault = engine::check(sampling_of(request.sampling()));
  return fault.empty() ? fault : "sampling." + fault;
}

// What is wrong with the request whatever the head's state, or "".
std::string fault_in(const v1::GenerateRequest& request, const ModelFacts& limits) {
  for (const auto& fault :
       {fault_in_id("request_id", request.request_id()), fault_in_id("gateway_id", request.gateway_id()),
        request.attempt() == 0 ? std::string("attempt is 0") : std::string(), fault_in_sampling(request),
        fault_in_lengths(request, limits.context_tokens_max),
        fault_in_tokens("prompt_ids", request.prompt_ids(), limits.vocab_size),
        fault_in_tokens("output_ids", request.output_ids(), limits.vocab_size),
        fault_in_tokens("stop_ids", request.stop_ids(), limits.vocab_size)}) {
    if (!fault.empty()) return fault;
  }
  return {};
}

v1::Refused refused(v1::RefusalCode code, std::string message, uint32_t retry_after_ms) {
  v1::Refused refused;
  refused.set_code(code);
  refused.set_message(std::move(message));
  refused.set_retry_after_ms(retry_after_ms);
  return refused;
}

std::vector<int32_t> to_engine(const Ids& ids) {
  return {ids.begin(), ids.end()};
}

}  // namespace

std::optional<v1::Refused> refuse(const AdmissionFacts& facts, const v1::GenerateRequest& request) {
  if (facts.phase == v1::REPLICA_PHASE_DRAINING || facts.phase == v1::REPLICA_PHASE_STOPPED) {
    return refused(v1::REFUSAL_CODE_DRAINING, "this replica is shutting down", kRetryAfterMs);
  }
  if (facts.phase != v1::REPLICA_PHASE_READY) {
    return refused(v1::REFUSAL_CODE_NO_REPLICA, "this replica is not ready", kRetryAfterMs);
  }
  if (request.model() != facts.model) {
    return refused(v1::REFUSAL_CODE_UNKNOWN_MODEL, fmt::format("this replica serves '{}'", facts.model), 0);
  }
  if (const std::string fault = fault_in(request, facts.limits); !fault.empty()) {
    return refused(v1::REFUSAL_CODE_INVALID, fault, 0);
  }
  if (request.deadline_unix_ms() != 0 && request.deadline_unix_ms() < facts.now_unix_ms) {
    return refused(v1::REFUSAL_CODE_OVERLOADED, "the request waited past its deadline_unix_ms", kRetryAfterMs);
  }
  if (facts.requests_live >= facts.limits.sequences_max + facts.limits.waiting_max) {
    return refused(v1::REFUSAL_CODE_OVERLOADED,
                   fmt::format("this replica holds {} requests, as many as it takes", facts.requests_live),
                   kRetryAfterMs);
  }
  return std::nullopt;
}

engine::SequenceRequest sequence_of(const v1::GenerateRequest& request, engine::SequenceId id,
                                    const ModelFacts& facts) {
  engine::SequenceRequest sequence{.id = id,
                                   .prompt_ids = to_engine(request.prompt_ids()),
                                   .output_ids = to_engine(request.output_ids()),
                                   .sampling = sampling_of(request.sampling()),
                                   .max_tokens = request.max_tokens(),
                                   .stop_ids = to_engine(request.stop_ids()),
                                   .priority = request.priority()};
  if (request.ignore_eos()) {
    std::erase_if(sequence.stop_ids, [&](int32_t stop) {
      return std::find(facts.eos_ids.begin(), facts.eos_ids.end(), stop) != facts.eos_ids.end();
    });
  }
  return sequence;
}

}  // namespace bellwether::worker
