#include "api-gateway/reply_stream.h"

#include <algorithm>
#include <utility>

namespace bellwether::gateway {

namespace asio = boost::asio;

namespace {

double seconds(mesh::TimePoint from, mesh::TimePoint to) {
  return std::chrono::duration<double>(to - from).count();
}

EndKind end_kind(const OutputText& output, v1::FinishReason reason) {
  if (output.called_tools() && (output.ended_early() || reason != v1::FINISH_REASON_LENGTH)) return EndKind::kToolCalls;
  return reason == v1::FINISH_REASON_LENGTH && !output.ended_early() ? EndKind::kLength : EndKind::kStop;
}

void check_prompt_logprobs(const v1::GenerateRequest& request, size_t came) {
  if (!request.has_prompt_logprobs() || came + 1 == static_cast<size_t>(request.prompt_ids_size())) return;
  throw RequestFailed({500, "tokens_lost", "log-probabilities of the prompt were lost on their way"});
}

}  // namespace

ReplyStream::ReplyStream(std::deque<Generation>& generations, std::shared_ptr<Wakeup> wakeup, ModelMetrics& metrics,
                         std::shared_ptr<const ServedModel> model, const OutputOptions& options,
                         mesh::TimePoint arrived)
    : generations_(generations),
      wakeup_(std::move(wakeup)),
      metrics_(metrics),
      model_(std::move(model)),
      choices_per_prompt_(static_cast<size_t>(generations.front().request().choices_size())),
      unfinished_(generations.size() * choices_per_prompt_),
      cached_(generations.size()),
      arrived_(arrived) {
  for (size_t i = 0; i < unfinished_; ++i) choices_.push_back({.output = OutputText(model_, options)});
  for (const Generation& generation : generations_) {
    usage_.prompt_tokens += static_cast<uint32_t>(generation.request().prompt_ids_size());
  }
  metrics_.prompt_tokens.Increment(usage_.prompt_tokens);
}

asio::awaitable<std::optional<ReplyPart>> ReplyStream::next(mesh::TimePoint wake_at) {
  for (;;) {
    if (std::optional<ReplyPart> part = poll()) co_return part;
    if (mesh::steady_now() >= wake_at) co_return std::nullopt;
    co_await wakeup_->wait(std::min(deadline(), wake_at));
  }
}

// In turn, so that no prompt keeps the others waiting.
std::optional<ReplyPart> ReplyStream::poll() {
  for (size_t i = 1; i <= generations_.size(); ++i) {
    const size_t prompt = (prompt_last_ + i) % generations_.size();
    Generation& generation = generations_[prompt];
    if (generation.finished()) continue;
    std::optional<TokenPiece> piece = generation.poll();
    if (!piece) continue;
    prompt_last_ = prompt;
    return read(prompt, *std::move(piece));
  }
  return std::nullopt;
}

std::optional<QueuePlace> ReplyStream::queue_place() const {
  for (const Generation& generation : generations_) {
    if (generation.queue_place()) return generation.queue_place();
  }
  return std::nullopt;
}

mesh::TimePoint ReplyStream::deadline() const {
  mesh::TimePoint deadline = mesh::TimePoint::max();
  for (const Generation& generation : generations_) {
    if (!generation.finished()) deadline = std::min(deadline, generation.deadline());
  }
  return deadline;
}

ReplyPart ReplyStream::read(size_t prompt, TokenPiece piece) {
  ReplyPart part;
  part.choice = static_cast<uint32_t>(prompt * choices_per_prompt_) + piece.choice;
  Choice& choice = choices_[part.choice];
  const uint32_t tokens_before = choice.output.tokens();
  const uint32_t reasoning_before = choice.output.reasoning_tokens();
  part.output = choice.output.push(piece);
  part.tokens = choice.output.tokens();
  const size_t taken = part.tokens - tokens_before;
  part.reasoning_tokens = choice.output.reasoning_tokens() - reasoning_before;
  usage_.reasoning_tokens += part.reasoning_tokens;
  measure(choice, taken);
  if (generations_[prompt].request().sampling().logprobs()) {
    // The token that ends the text is no part of it, in either.
    const bool ends = piece.finish_reason == v1::FINISH_REASON_STOP && taken == piece.ids.size() && taken > 0;
    part.logprobs = token_logprobs(model_->tokenizer, piece, ends ? taken - 1 : taken);
  }
  part.prompt_logprobs = prompt_logprobs(model_->tokenizer, piece);
  choice.prompt_logprobs += part.prompt_logprobs.size();
  if (piece.finished() || choice.output.ended_early()) end(prompt, piece, choice, part);
  piece.ids.resize(taken);
  part.ids = std::move(piece.ids);
  return part;
}

void ReplyStream::end(size_t prompt, const TokenPiece& piece, Choice& choice, ReplyPart& part) {
  if (piece.choice == 0) check_prompt_logprobs(generations_[prompt].request(), choice.prompt_logprobs);
  if (piece.finished()) {
    // The choices share the prompt: what was found for the first of them was spared, the others found what it left.
    const uint32_t cached = piece.usage.cached_prompt_tokens();
    cached_[prompt] = std::min(cached_[prompt].value_or(cached), cached);
    count(piece.usage);
  }
  part.end = {.kind = end_kind(choice.output, piece.finish_reason), .reason = choice.output.stop_reason()};
  generations_[prompt].finish(piece.choice);
  --unfinished_;
}

void ReplyStream::count(const v1::Usage& usage) {
  usage_.draft_tokens += usage.draft_tokens();
  usage_.draft_tokens_accepted += usage.draft_tokens_accepted();
  usage_.cached_prompt_tokens = 0;
  for (const std::optional<uint32_t>& cached : cached_) *usage_.cached_prompt_tokens += cached.value_or(0);
}

void ReplyStream::measure(Choice& choice, size_t tokens) {
  if (tokens == 0) return;
  const mesh::TimePoint now = mesh::steady_now();
  if (usage_.completion_tokens == 0) metrics_.time_to_first_token.Observe(seconds(arrived_, now));
  if (choice.last_tokens) metrics_.time_between_tokens.Observe(seconds(*choice.last_tokens, now));
  choice.last_tokens = now;
  usage_.completion_tokens += static_cast<uint32_t>(tokens);
  metrics_.completion_tokens.Increment(static_cast<double>(tokens));
}

}  // namespace bellwether::gateway
