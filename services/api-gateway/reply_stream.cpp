#include "api-gateway/reply_stream.h"

#include <algorithm>

namespace bellwether::gateway {

namespace asio = boost::asio;

namespace {

double seconds(mesh::TimePoint from, mesh::TimePoint to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

ReplyStream::ReplyStream(Generation& generation, ModelMetrics& metrics, std::shared_ptr<const ServedModel> model,
                         const OutputOptions& options, mesh::TimePoint arrived)
    : generation_(generation),
      metrics_(metrics),
      model_(std::move(model)),
      unfinished_(static_cast<size_t>(generation.request().choices_size())),
      arrived_(arrived) {
  for (size_t i = 0; i < unfinished_; ++i) choices_.push_back({.output = OutputText(model_, options)});
  metrics_.prompt_tokens.Increment(generation_.request().prompt_ids_size());
}

asio::awaitable<ReplyPart> ReplyStream::next(mesh::TimePoint wake_at) {
  const TokenPiece piece = co_await generation_.next(wake_at);
  ReplyPart part;
  if (piece.empty()) co_return part;
  part.choice = piece.choice;
  Choice& choice = choices_[piece.choice];
  const uint32_t tokens_before = choice.output.tokens();
  part.output = choice.output.push(piece);
  const size_t taken = choice.output.tokens() - tokens_before;
  measure(choice, taken);
  if (generation_.request().sampling().logprobs()) {
    // The token that ends the text is no part of it, in either.
    const bool ends = piece.finish_reason == v1::FINISH_REASON_STOP && taken == piece.ids.size() && taken > 0;
    part.logprobs = token_logprobs(model_->tokenizer, piece, ends ? taken - 1 : taken);
  }
  part.prompt_logprobs = prompt_logprobs(model_->tokenizer, piece);
  choice.prompt_logprobs += part.prompt_logprobs.size();
  if (piece.finished()) {
    // The choices share the prompt: what was found for the first of them was spared, the others found what it left.
    const uint32_t cached = piece.usage.cached_prompt_tokens();
    cached_prompt_tokens_ = std::min(cached_prompt_tokens_.value_or(cached), cached);
  }
  if (piece.finished() || choice.output.stopped_by_string()) {
    check_prompt_logprobs(piece.choice);
    part.end = end_of(choice, piece.finish_reason);
    generation_.finish(piece.choice);
    --unfinished_;
  }
  co_return part;
}

void ReplyStream::check_prompt_logprobs(uint32_t choice) const {
  const v1::GenerateRequest& request = generation_.request();
  if (choice != 0 || !request.has_prompt_logprobs()) return;
  if (choices_[choice].prompt_logprobs + 1 == static_cast<size_t>(request.prompt_ids_size())) return;
  throw RequestFailed({500, "tokens_lost", "log-probabilities of the prompt were lost on their way"});
}

void ReplyStream::measure(Choice& choice, size_t tokens) {
  if (tokens == 0) return;
  const mesh::TimePoint now = mesh::steady_now();
  if (tokens_ == 0) metrics_.time_to_first_token.Observe(seconds(arrived_, now));
  if (choice.last_tokens) metrics_.time_between_tokens.Observe(seconds(*choice.last_tokens, now));
  choice.last_tokens = now;
  tokens_ += static_cast<uint32_t>(tokens);
  metrics_.completion_tokens.Increment(static_cast<double>(tokens));
}

ReplyEnd ReplyStream::end_of(const Choice& choice, v1::FinishReason reason) {
  if (choice.output.called_tools()) return ReplyEnd::kToolCalls;
  const bool by_length = reason == v1::FINISH_REASON_LENGTH && !choice.output.stopped_by_string();
  return by_length ? ReplyEnd::kLength : ReplyEnd::kStop;
}

ReplyUsage ReplyStream::usage() const {
  return {static_cast<uint32_t>(generation_.request().prompt_ids_size()), tokens_, cached_prompt_tokens_};
}

}  // namespace bellwether::gateway
