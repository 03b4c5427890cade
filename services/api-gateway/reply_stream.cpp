#include "api-gateway/reply_stream.h"

namespace bellwether::gateway {

namespace asio = boost::asio;

namespace {

double seconds(mesh::TimePoint from, mesh::TimePoint to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

ReplyStream::ReplyStream(Generation& generation, ModelMetrics& metrics, std::shared_ptr<const ServedModel> model,
                         OutputOptions options, mesh::TimePoint arrived)
    : generation_(generation), metrics_(metrics), output_(std::move(model), std::move(options)), arrived_(arrived) {
  metrics_.prompt_tokens.Increment(generation_.request().prompt_ids_size());
}

asio::awaitable<ReplyPart> ReplyStream::next(mesh::TimePoint wake_at) {
  const TokenPiece piece = co_await generation_.next(wake_at);
  ReplyPart part;
  if (piece.empty()) co_return part;
  const uint32_t tokens_before = output_.tokens();
  part.output = output_.push(piece);
  const size_t taken = output_.tokens() - tokens_before;
  measure(taken);
  if (generation_.request().sampling().logprobs()) {
    // The token that ends the text is no part of it, in either.
    const bool ends = piece.finish_reason == v1::FINISH_REASON_STOP && taken == piece.ids.size() && taken > 0;
    part.logprobs = token_logprobs(output_.model().tokenizer, piece, ends ? taken - 1 : taken);
  }
  if (piece.finished()) {
    finish_reason_ = piece.finish_reason;
    cached_prompt_tokens_ = piece.usage.cached_prompt_tokens();
  }
  finished_ = piece.finished() || output_.stopped_by_string();
  if (finished_) generation_.cancel();
  co_return part;
}

void ReplyStream::measure(size_t tokens) {
  if (tokens == 0) return;
  const mesh::TimePoint now = mesh::steady_now();
  if (output_.tokens() == tokens) {
    metrics_.time_to_first_token.Observe(seconds(arrived_, now));
  } else {
    metrics_.time_between_tokens.Observe(seconds(last_tokens_, now));
  }
  last_tokens_ = now;
  metrics_.completion_tokens.Increment(static_cast<double>(tokens));
}

ReplyEnd ReplyStream::end() const {
  if (output_.called_tools()) return ReplyEnd::kToolCalls;
  const bool by_length = finish_reason_ == v1::FINISH_REASON_LENGTH && !output_.stopped_by_string();
  return by_length ? ReplyEnd::kLength : ReplyEnd::kStop;
}

ReplyUsage ReplyStream::usage() const {
  return {static_cast<uint32_t>(generation_.request().prompt_ids_size()), output_.tokens(), cached_prompt_tokens_};
}

}  // namespace bellwether::gateway
