#include "api-gateway/generation.h"

#include <fmt/format.h>

#include <algorithm>

#include "mesh/error.h"
#include "mesh/http_server.h"
#include "mesh/log.h"
#include "mesh/subjects.h"

namespace bellwether::gateway {

namespace asio = boost::asio;
using mesh::Error;
using mesh::ErrorCode;

namespace {

constexpr std::chrono::milliseconds kRetryAfterMin{1000};

Failure placement_failure(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kUnavailable:
      return {503, "no_scheduler", "no scheduler is reachable at the moment", "", kRetryAfterMin};
    case ErrorCode::kDeadlineExceeded:
      return {503, "no_scheduler", "no scheduler answered in time", "", kRetryAfterMin};
    default:
      return failure_of(error);
  }
}

}  // namespace

Failure replica_gone(const std::string& why) {
  return {503, "replica_gone", fmt::format("the replica that served this request is gone: {}", why), "",
          kRetryAfterMin};
}

Generation::Generation(GenerationContext& context, v1::GenerateRequest request, std::shared_ptr<Wakeup> wakeup)
    : context_(context),
      request_(std::move(request)),
      inbox_(std::make_shared<TokenInbox>(std::move(wakeup), request_.attempt(), request_.choices().size(),
                                          request_.sampling().logprobs())),
      finished_(request_.choices().size(), false),
      unfinished_(finished_.size()),
      has_prompt_logprobs_(!request_.has_prompt_logprobs()) {
  context_.streams.add(request_.request_id(), inbox_);
}

Generation::~Generation() {
  context_.streams.remove(request_.request_id());
  cancel();
}

asio::awaitable<void> Generation::place() {
  if (static_cast<int64_t>(request_.ByteSizeLong()) > context_.bus.payload_bytes_max()) {
    throw RequestFailed(
        {400, "prompt_too_long",
         fmt::format("the prompt's {} tokens are more than the mesh can carry", request_.prompt_ids_size())});
  }
  std::optional<Failure> failure;
  v1::GenerateReply reply;
  try {
    reply = co_await context_.bus.request<v1::GenerateReply>(mesh::subjects::request(request_.model()), request_,
                                                             context_.limits.placement_time_max);
  } catch (const Error& error) {
    // A head may have taken the request although its answer did not come back.
    cancel_everywhere();
    failure = placement_failure(error);
  }
  if (failure) {
    unfinished_ = 0;
    throw RequestFailed(std::move(*failure));
  }
  switch (reply.outcome_case()) {
    case v1::GenerateReply::kPlaced:
      accept(reply.placed());
      break;
    case v1::GenerateReply::kRefused:
      refuse(reply.refused());
    case v1::GenerateReply::kQueued:
    case v1::GenerateReply::OUTCOME_NOT_SET:
      cancel_everywhere();
      throw RequestFailed({500, "internal", "the scheduler gave an answer that this gateway does not understand"});
  }
  if (inbox_->client_gone()) throw mesh::ClientGone{};
}

void Generation::accept(const v1::Placed& placed) {
  const Head head{placed.replica_id(), placed.epoch()};
  advanced_ = mesh::steady_now();
  inbox_->place(head);
  if (!context_.directory.expect(head)) inbox_->interrupt(replica_gone("it left as the request came"));
}

void Generation::refuse(const v1::Refused& refused) const {
  const std::string message = refused.message().empty() ? "no replica can take this request now" : refused.message();
  if (refused.code() == v1::REFUSAL_CODE_INVALID) throw RequestFailed({400, "refused_invalid", message});
  const std::chrono::milliseconds retry_after(refused.retry_after_ms());
  throw RequestFailed({503, refused.code() == v1::REFUSAL_CODE_OVERLOADED ? "overloaded" : "no_replica", message, "",
                       std::max(retry_after, kRetryAfterMin)});
}

std::optional<TokenPiece> Generation::poll() {
  if (inbox_->client_gone()) throw mesh::ClientGone{};
  if (const auto choice = choice_with_tokens()) return take(*choice);
  // After the tokens: those that a head sent before it left still count.
  if (inbox_->failure()) {
    Failure failure = *inbox_->failure();
    throw RequestFailed(std::move(failure));
  }
  const mesh::TimePoint now = mesh::steady_now();
  if (!has_gap()) {
    gap_seen_.reset();
  } else if (!gap_seen_) {
    gap_seen_ = now;
  }
  if (now >= deadline()) fail_overdue(now);
  return std::nullopt;
}

// In turn, so that no choice keeps the others waiting; but they wait for the log-probabilities of the prompt, which
// come with the first choice.
std::optional<uint32_t> Generation::choice_with_tokens() const {
  if (!has_prompt_logprobs_) return inbox_->orders()[0].ready().empty() ? std::nullopt : std::optional<uint32_t>(0);
  const auto count = static_cast<uint32_t>(finished_.size());
  for (uint32_t i = 1; i <= count; ++i) {
    const uint32_t choice = (choice_last_ + i) % count;
    if (!finished_[choice] && !inbox_->orders()[choice].ready().empty()) return choice;
  }
  return std::nullopt;
}

bool Generation::has_gap() const {
  for (size_t i = 0; i < finished_.size(); ++i) {
    if (!finished_[i] && inbox_->orders()[i].has_gap()) return true;
  }
  return false;
}

TokenPiece Generation::take(uint32_t choice) {
  choice_last_ = choice;
  has_prompt_logprobs_ = true;
  TokenPiece piece = inbox_->orders()[choice].take();
  piece.choice = choice;
  advanced_ = mesh::steady_now();
  has_tokens_ = true;
  gap_seen_.reset();
  if (piece.finished()) {
    finished_[choice] = true;
    --unfinished_;
  }
  if (piece.finish_reason == v1::FINISH_REASON_ERROR) {
    throw RequestFailed({500, "replica_error", piece.error.empty() ? "the replica could not go on" : piece.error});
  }
  if (piece.finish_reason == v1::FINISH_REASON_CANCELLED) {
    throw RequestFailed(
        {503, "replica_cancelled", "the replica stopped this request before its end", "", kRetryAfterMin});
  }
  return piece;
}

mesh::TimePoint Generation::deadline() const {
  const auto& limits = context_.limits;
  mesh::TimePoint deadline = advanced_ + (has_tokens_ ? limits.token_gap_time_max : limits.first_token_time_max);
  if (gap_seen_) deadline = std::min(deadline, *gap_seen_ + limits.lost_tokens_time_max);
  return deadline;
}

void Generation::fail_overdue(mesh::TimePoint now) {
  const auto& limits = context_.limits;
  if (gap_seen_ && now >= *gap_seen_ + limits.lost_tokens_time_max) {
    const auto& orders = inbox_->orders();
    const auto lossy = std::find_if(orders.begin(), orders.end(), [](const auto& order) { return order.has_gap(); });
    throw RequestFailed(
        {500, "tokens_lost", fmt::format("tokens from number {} on were lost on their way", lossy->next_index())});
  }
  if (has_tokens_) {
    throw RequestFailed({504, "token_gap", fmt::format("no token came for {} ms", limits.token_gap_time_max.count())});
  }
  throw RequestFailed({504, "first_token",
                       fmt::format("the first token did not come within {} ms", limits.first_token_time_max.count()),
                       "", kRetryAfterMin});
}

void Generation::finish(uint32_t choice) {
  if (finished_[choice]) return;
  if (unfinished_ == 1) return cancel();
  finished_[choice] = true;
  --unfinished_;
  publish_cancel(inbox_->head()->replica_id, choice);
}

void Generation::cancel() {
  if (unfinished_ == 0 || !inbox_->head()) return;
  unfinished_ = 0;
  publish_cancel(inbox_->head()->replica_id);
}

void Generation::cancel_everywhere() {
  for (const Head& head : context_.directory.heads_of(request_.model())) publish_cancel(head.replica_id);
}

void Generation::publish_cancel(const std::string& replica_id, std::optional<uint32_t> choice) noexcept {
  try {
    v1::CancelRequest cancel;
    cancel.set_request_id(request_.request_id());
    cancel.set_attempt(request_.attempt());
    if (choice) cancel.add_choices(*choice);
    context_.bus.publish(mesh::subjects::replica_cancel(replica_id), cancel);
  } catch (const std::exception& error) {
    mesh::log::warning("cancel not sent",
                       {{"request_id", request_.request_id()}, {"replica_id", replica_id}, {"error", error.what()}});
  }
}

}  // namespace bellwether::gateway
