#include "worker/admission.h"

#include <fmt/format.h>

#include <algorithm>
#include <bitset>
#include <limits>
#include <string_view>

#include "mesh/cache_salt.h"

namespace bellwether::worker {
namespace {

using Ids = google::protobuf::RepeatedField<uint32_t>;

constexpr uint32_t kPromptLogprobsMax = 20;

// Without a seed: each choice has its own.
engine::SamplingParams sampling_of(const v1::Sampling& sampling) {
  engine::SamplingParams params{.temperature = sampling.temperature(),
                                .top_p = sampling.top_p(),
                                .top_k = static_cast<int32_t>(sampling.top_k()),
                                .min_p = sampling.min_p(),
                                .repetition_penalty = sampling.repetition_penalty(),
                                .presence_penalty = sampling.presence_penalty(),
                                .frequency_penalty = sampling.frequency_penalty(),
                                .logprobs = sampling.logprobs(),
                                .top_logprobs = static_cast<int32_t>(sampling.top_logprobs())};
  params.logit_bias.reserve(static_cast<size_t>(sampling.logit_bias_size()));
  for (const v1::LogitBias& entry : sampling.logit_bias()) {
    params.logit_bias.emplace_back(static_cast<int32_t>(entry.id()), entry.bias());
  }
  return params;
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
  if (request.min_tokens() > request.max_tokens()) {
    return fmt::format("min_tokens is {}, more than the max_tokens of {}", request.min_tokens(), request.max_tokens());
  }
  const int64_t tokens = int64_t{request.prompt_ids_size()} + request.max_tokens();
  if (tokens > context_tokens_max) {
    return fmt::format("prompt_ids and max_tokens make {} tokens, more than the {} this replica can hold", tokens,
                       context_tokens_max);
  }
  if (request.stop_ids_size() > kStopIdsMax) return fmt::format("stop_ids has more than {} ids", kStopIdsMax);
  if (request.prompt_logprobs() > kPromptLogprobsMax) {
    return fmt::format("prompt_logprobs is more than {}", kPromptLogprobsMax);
  }
  if (request.cache_salt().size() > kCacheSaltBytesMax) {
    return fmt::format("cache_salt is longer than {} bytes", kCacheSaltBytesMax);
  }
  return {};
}

std::string fault_in_choices(const v1::GenerateRequest& request, const ModelFacts& limits) {
  if (request.choices().empty()) return "choices is empty";
  if (request.choices_size() > kChoicesMax) return fmt::format("choices has more than {}", kChoicesMax);
  const int64_t sequences_max = limits.sequences_max + limits.waiting_max;
  if (request.choices_size() > sequences_max) {
    return fmt::format("choices has {}, more than the {} sequences this replica holds", request.choices_size(),
                       sequences_max);
  }
  std::bitset<kChoicesMax> seen;
  for (int i = 0; i < request.choices_size(); ++i) {
    const v1::Choice& choice = request.choices(i);
    if (choice.index() >= kChoicesMax) {
      return fmt::format("choices[{}].index is {}, not below {}", i, choice.index(), kChoicesMax);
    }
    if (seen.test(choice.index())) return fmt::format("choices[{}].index is {}, as an earlier one", i, choice.index());
    seen.set(choice.index());
    if (request.max_tokens() <= static_cast<uint32_t>(choice.output_ids_size())) {
      return fmt::format("choices[{}].output_ids has {} tokens, but max_tokens is {}", i, choice.output_ids_size(),
                         request.max_tokens());
    }
    const std::string fault =
        fault_in_tokens(fmt::format("choices[{}].output_ids", i), choice.output_ids(), limits.vocab_size);
    if (!fault.empty()) return fault;
  }
  return {};
}

std::string fault_in_sampling(const v1::GenerateRequest& request, int64_t vocab_size) {
  if (!request.has_sampling()) return "sampling is missing";
  constexpr auto kMax = static_cast<uint32_t>(std::numeric_limits<int32_t>::max());
  if (request.sampling().top_k() > kMax) return fmt::format("sampling.top_k is more than {}", kMax);
  if (request.sampling().top_logprobs() > kMax) return fmt::format("sampling.top_logprobs is more than {}", kMax);
  const auto& biases = request.sampling().logit_bias();
  if (biases.size() > kLogitBiasesMax) return fmt::format("sampling.logit_bias has more than {}", kLogitBiasesMax);
  const auto beyond =
      std::find_if(biases.begin(), biases.end(), [&](const auto& each) { return each.id() >= vocab_size; });
  if (beyond != biases.end()) {
    return fmt::format("sampling.logit_bias[{}].id is {}, outside the vocabulary of {}", beyond - biases.begin(),
                       beyond->id(), vocab_size);
  }
  const std::string fault = engine::check(sampling_of(request.sampling()));
  return fault.empty() ? fault : "sampling." + fault;
}

// What is wrong with the request whatever the head's state, or "".
std::string fault_in(const v1::GenerateRequest& request, const ModelFacts& limits) {
  for (const auto& fault :
       {fault_in_id("request_id", request.request_id()), fault_in_id("gateway_id", request.gateway_id()),
        request.attempt() == 0 ? std::string("attempt is 0") : std::string(),
        fault_in_sampling(request, limits.vocab_size), fault_in_lengths(request, limits.context_tokens_max),
        fault_in_choices(request, limits), fault_in_tokens("prompt_ids", request.prompt_ids(), limits.vocab_size),
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
  if (facts.sequences_live + request.choices_size() > facts.limits.sequences_max + facts.limits.waiting_max) {
    return refused(v1::REFUSAL_CODE_OVERLOADED,
                   fmt::format("this replica holds {} sequences and has no room for {} more", facts.sequences_live,
                               request.choices_size()),
                   kRetryAfterMs);
  }
  return std::nullopt;
}

std::vector<engine::SequenceRequest> sequences_of(const v1::GenerateRequest& request, engine::SequenceId first_id,
                                                  const ModelFacts& facts) {
  engine::SequenceRequest common{.prompt_ids = to_engine(request.prompt_ids()),
                                 .sampling = sampling_of(request.sampling()),
                                 .max_tokens = request.max_tokens(),
                                 .stop_ids = to_engine(request.stop_ids()),
                                 .priority = request.priority(),
                                 .min_tokens = request.min_tokens(),
                                 .cache_salt = mesh::cache_salt_of(request.cache_salt())};
  if (request.ignore_eos()) {
    std::erase_if(common.stop_ids, [&](int32_t stop) {
      return std::find(facts.eos_ids.begin(), facts.eos_ids.end(), stop) != facts.eos_ids.end();
    });
  }
  std::vector<engine::SequenceRequest> sequences(static_cast<size_t>(request.choices_size()), common);
  for (size_t i = 0; i < sequences.size(); ++i) {
    const v1::Choice& choice = request.choices(static_cast<int>(i));
    sequences[i].id = first_id + i;
    sequences[i].output_ids = to_engine(choice.output_ids());
    sequences[i].sampling.seed = choice.seed();
  }
  if (request.has_prompt_logprobs()) sequences[0].prompt_logprobs = static_cast<int32_t>(request.prompt_logprobs());
  return sequences;
}

}  // namespace bellwether::worker
