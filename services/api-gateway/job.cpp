#include "api-gateway/job.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "api-gateway/failure.h"

namespace bellwether::gateway {

namespace {

PromptEncoding encoding_of(const GenerationParameters& parameters, bool adds_bos) {
  return {.adds_bos = adds_bos,
          .truncation = parameters.truncation,
          .output_tokens = std::max<uint32_t>(parameters.max_tokens.value_or(1), 1)};
}

OutputOptions output_options(const GenerationParameters& parameters, const v1::GenerateRequest& request) {
  return {.keeps_special_tokens = parameters.keeps_special_tokens,
          .keeps_stop = parameters.keeps_stop,
          .is_silent = parameters.max_tokens == 0,
          .min_tokens = parameters.min_tokens,
          .stop = parameters.stop,
          .stop_ids = {request.stop_ids().begin(), request.stop_ids().end()}};
}

ReplyOptions reply_options(const GenerationParameters& parameters) {
  return {.usage = parameters.include_usage,
          .usage_continuous = parameters.continuous_usage,
          .logprobs = parameters.logprobs,
          .prompt_logprobs = parameters.prompt_logprobs.has_value(),
          .token_ids = parameters.returns_token_ids,
          .tokens_as_ids = parameters.tokens_as_ids,
          .choices_per_prompt = parameters.choices};
}

// What its reply may repeat.
ReplyPrompt reply_prompt(const Prompt& prompt, bool truncated, std::vector<text::TokenId> ids,
                         const ServedModel& model) {
  ReplyPrompt shown;
  const auto* text = std::get_if<std::string>(&prompt);
  shown.begins_with_bos =
      text != nullptr && model.bos_id == ids.front() && !text->starts_with(model.tokenizer.bytes(ids.front()));
  if (text != nullptr && !truncated) {
    shown.text = *text;
  } else {
    shown.text = model.tokenizer.decode(std::span(ids).subspan(shown.begins_with_bos ? 1 : 0), false);
  }
  shown.first_token = model.tokenizer.bytes(ids.front());
  shown.ids = std::move(ids);
  return shown;
}

std::vector<text::TokenId> encode(const Prompt& prompt, const CompletionRequest& completion, const JobContext& context,
                                  const std::string& param) {
  const PromptEncoding encoding = encoding_of(completion.parameters, completion.adds_special_tokens);
  if (const auto* text = std::get_if<std::string>(&prompt)) {
    return encode_prompt(*context.model, *text, context.limits, encoding, param);
  }
  auto ids = std::get<std::vector<text::TokenId>>(prompt);
  truncate(ids, context.limits, encoding);
  return ids;
}

}  // namespace

std::vector<text::TokenId> encode_conversation(const ChatRequest& chat, const ServedModel& model,
                                               const PromptLimits& limits, const std::string& param,
                                               bool& opens_reasoning) {
  if (model.chat_format == nullptr) {
    throw RequestFailed({400, "bad_request", "this model has no chat format; use /v1/completions", "model"});
  }
  text::Prompt prompt;
  try {
    prompt = model.chat_format->render(chat.conversation);
  } catch (const text::TextError& error) {
    throw RequestFailed({400, "bad_request", error.what(), param});
  }
  opens_reasoning = prompt.opens_reasoning;
  return encode_prompt(model, prompt.text, limits, encoding_of(chat.parameters, false), param);
}

Job chat_job(const ChatRequest& chat, const JobContext& context, const std::string& param) {
  const GenerationParameters& parameters = chat.parameters;
  Job job{.model = context.model,
          .stream = parameters.stream,
          .has_priority = parameters.priority.has_value(),
          .limits_output = parameters.max_tokens.has_value()};
  bool opens_reasoning = false;
  std::vector<text::TokenId> ids = encode_conversation(chat, *context.model, context.limits, param, opens_reasoning);
  job.requests.push_back(
      make_generate_request(parameters, *context.model, ids, context.limits, context.random(), param));
  job.constraint = chat_constraint_of(chat, *context.model, opens_reasoning);
  if (job.constraint) *job.requests[0].mutable_constraint() = job.constraint->message;
  job.output = output_options(parameters, job.requests[0]);
  job.output.splits_reasoning = true;
  job.output.starts_in_reasoning = opens_reasoning;
  job.output.keeps_reasoning = chat.keeps_reasoning;
  job.output.parses_tool_calls = !chat.conversation.tools.empty();
  job.output.one_tool_call = !chat.parallel_tool_calls;
  job.reply = reply_options(parameters);
  job.reply.prompts.push_back({.ids = std::move(ids)});
  return job;
}

Job completion_job(const CompletionRequest& completion, const JobContext& context) {
  GenerationParameters parameters = completion.parameters;
  // Echoed, the prompt has log-probabilities as the output has.
  const bool echoes_logprobs = completion.echo && parameters.logprobs;
  if (echoes_logprobs && !parameters.prompt_logprobs) parameters.prompt_logprobs = parameters.top_logprobs;
  Job job{.model = context.model,
          .stream = parameters.stream,
          .has_priority = parameters.priority.has_value(),
          .limits_output = parameters.max_tokens.has_value()};
  job.reply = reply_options(completion.parameters);
  job.reply.echo = completion.echo;
  job.constraint = text_constraint_of(parameters);
  for (size_t i = 0; i < completion.prompts.size(); ++i) {
    const std::string param = completion.prompts.size() == 1 ? "prompt" : fmt::format("prompt[{}]", i);
    std::vector<text::TokenId> ids = encode(completion.prompts[i], completion, context, param);
    job.requests.push_back(
        make_generate_request(parameters, *context.model, ids, context.limits, context.random(), param));
    if (job.constraint) *job.requests.back().mutable_constraint() = job.constraint->message;
    job.reply.prompts.push_back(
        reply_prompt(completion.prompts[i], parameters.truncation.has_value(), std::move(ids), *context.model));
  }
  job.output = output_options(parameters, job.requests[0]);
  return job;
}

}  // namespace bellwether::gateway
