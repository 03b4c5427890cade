#include "api-gateway/generate_request.h"

#include <fmt/format.h>

#include <algorithm>

#include "api-gateway/failure.h"

namespace bellwether::gateway {

namespace {

[[noreturn]] void refuse_length(const PromptLimits& limits, const std::string& tokens, const std::string& param) {
  const bool by_context = limits.context_tokens_max <= limits.prompt_tokens_max;
  throw RequestFailed(
      {400, "prompt_too_long",
       by_context
           ? fmt::format("this model's context holds {} tokens, prompt and output together, and the prompt has {}",
                         limits.context_tokens_max, tokens)
           : fmt::format("this server takes prompts of at most {} tokens, and the prompt has {}",
                         limits.prompt_tokens_max, tokens),
       param});
}

void check_length(size_t tokens, const PromptLimits& limits, const std::string& param) {
  if (tokens >= limits.context_tokens_max || tokens > limits.prompt_tokens_max) {
    refuse_length(limits, std::to_string(tokens), param);
  }
}

void check_ids(const GenerationParameters& parameters, const std::vector<text::TokenId>& prompt_ids,
               text::TokenId id_limit, const std::string& param) {
  for (size_t i = 0; i < prompt_ids.size(); ++i) {
    if (prompt_ids[i] >= 0 && prompt_ids[i] < id_limit) continue;
    throw RequestFailed(
        {400, "bad_request",
         fmt::format("`{}[{}]` is {}; this model's token ids are below {}", param, i, prompt_ids[i], id_limit), param});
  }
  for (const auto& [id, bias] : parameters.logit_bias) {
    if (id < static_cast<uint32_t>(id_limit)) continue;
    throw RequestFailed({400, "bad_request",
                         fmt::format("`logit_bias` has {}; this model's token ids are below {}", id, id_limit),
                         "logit_bias"});
  }
}

void set_sampling(const GenerationParameters& parameters, const GenerationDefaults& defaults, v1::Sampling& sampling) {
  sampling.set_temperature(static_cast<float>(parameters.temperature.value_or(defaults.temperature)));
  sampling.set_top_p(static_cast<float>(parameters.top_p.value_or(defaults.top_p)));
  sampling.set_top_k(parameters.top_k.value_or(defaults.top_k));
  sampling.set_min_p(static_cast<float>(parameters.min_p));
  sampling.set_repetition_penalty(static_cast<float>(parameters.repetition_penalty));
  sampling.set_presence_penalty(static_cast<float>(parameters.presence_penalty));
  sampling.set_frequency_penalty(static_cast<float>(parameters.frequency_penalty));
  for (const auto& [id, bias] : parameters.logit_bias) {
    v1::LogitBias& entry = *sampling.add_logit_bias();
    entry.set_id(id);
    entry.set_bias(static_cast<float>(bias));
  }
  sampling.set_logprobs(parameters.logprobs);
  sampling.set_top_logprobs(parameters.top_logprobs);
}

}  // namespace

std::vector<text::TokenId> encode_prompt(const ServedModel& model, std::string_view text, const PromptLimits& limits,
                                         const PromptEncoding& encoding, const std::string& param) {
  const uint64_t tokens_max = std::min(limits.context_tokens_max, limits.prompt_tokens_max);
  const uint64_t tokens_min = text.size() / std::max<size_t>(model.token_bytes_max, 1);
  if (tokens_min > tokens_max && !encoding.truncation) {
    refuse_length(limits, fmt::format("at least {}", tokens_min), param);
  }
  try {
    std::vector<text::TokenId> ids = model.tokenizer.encode(text);
    const bool adds_bos = encoding.adds_bos && model.bos_id && (ids.empty() || ids.front() != *model.bos_id);
    if (adds_bos) ids.insert(ids.begin(), *model.bos_id);
    truncate(ids, limits, encoding, adds_bos ? 1 : 0);
    check_length(ids.size(), limits, param);
    return ids;
  } catch (const text::TextError& error) {
    throw RequestFailed({400, "bad_request", error.what(), param});
  }
}

void truncate(std::vector<text::TokenId>& ids, const PromptLimits& limits, const PromptEncoding& encoding,
              size_t kept) {
  if (!encoding.truncation) return;
  const uint32_t room = limits.context_tokens_max - std::min(encoding.output_tokens, limits.context_tokens_max);
  const size_t tokens_max = encoding.truncation->tokens.value_or(std::min(room, limits.prompt_tokens_max));
  if (ids.size() <= tokens_max) return;
  const auto dropped = static_cast<std::ptrdiff_t>(std::min(ids.size() - tokens_max, ids.size() - kept));
  const auto begin =
      encoding.truncation->keeps_end ? ids.begin() + static_cast<std::ptrdiff_t>(kept) : ids.end() - dropped;
  ids.erase(begin, begin + dropped);
}

v1::GenerateRequest make_generate_request(const GenerationParameters& parameters, const ServedModel& model,
                                          const std::vector<text::TokenId>& prompt_ids, const PromptLimits& limits,
                                          uint64_t random_seed, const std::string& param) {
  check_length(prompt_ids.size(), limits, param);
  check_ids(parameters, prompt_ids, model.tokenizer.id_limit(), param);
  const std::optional<uint32_t> max_tokens =
      parameters.max_tokens ? std::optional(std::max<uint32_t>(*parameters.max_tokens, 1)) : std::nullopt;
  if (max_tokens && parameters.min_tokens > *max_tokens) {
    throw RequestFailed(
        {400, "bad_request",
         fmt::format("`min_tokens` is {}, more than `max_tokens`, {}", parameters.min_tokens, *max_tokens),
         "min_tokens"});
  }
  const auto prompt_tokens = static_cast<uint32_t>(prompt_ids.size());
  v1::GenerateRequest request;
  request.set_attempt(1);
  request.set_model(parameters.model);
  request.mutable_prompt_ids()->Add(prompt_ids.begin(), prompt_ids.end());
  const uint32_t room = limits.context_tokens_max - prompt_tokens;
  request.set_max_tokens(std::min(max_tokens.value_or(room), room));
  request.set_min_tokens(std::min(parameters.min_tokens, request.max_tokens()));
  if (parameters.prompt_logprobs) request.set_prompt_logprobs(*parameters.prompt_logprobs);
  request.set_cache_salt(parameters.cache_salt);
  request.set_session_id(parameters.session_id);
  request.set_ignore_eos(parameters.ignore_eos);
  request.set_priority(parameters.priority.value_or(0));
  if (!parameters.ignore_eos) request.mutable_stop_ids()->Add(model.eos_ids.begin(), model.eos_ids.end());
  request.mutable_stop_ids()->Add(parameters.stop_token_ids.begin(), parameters.stop_token_ids.end());

  set_sampling(parameters, model.defaults, *request.mutable_sampling());
  for (uint32_t i = 0; i < parameters.choices; ++i) {
    v1::Choice& choice = *request.add_choices();
    choice.set_index(i);
    choice.set_seed(parameters.seed.value_or(random_seed) + i);
  }
  return request;
}

}  // namespace bellwether::gateway
