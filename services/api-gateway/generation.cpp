#include "api-gateway/generation.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "api-gateway/submission.h"
#include "mesh/http_server.h"
#include "mesh/log.h"
#include "mesh/subjects.h"

namespace bellwether::gateway {

namespace asio = boost::asio;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kAskAgainForGap{200};  // a head that has the tokens answers within a few
// So long without tokens, the last ones may be what is missing, or the head may have forgotten the request.
constexpr milliseconds kAskAgainInSilence{1000};
constexpr size_t kLostReplicasMax = 8;

}  // namespace

Generation::Generation(GenerationContext& context, v1::GenerateRequest request, std::shared_ptr<Wakeup> wakeup)
    : context_(context),
      request_(std::move(request)),
      inbox_(
          std::make_shared<TokenInbox>(std::move(wakeup), request_.choices().size(), request_.sampling().logprobs())),
      finished_(request_.choices().size(), false),
      unfinished_(finished_.size()),
      has_prompt_logprobs_(!request_.has_prompt_logprobs()) {
  context_.streams.add(request_.request_id(), inbox_);
}

Generation::~Generation() {
  context_.streams.remove(request_.request_id());
  cancel();
  inbox_->leave();
}

void Generation::submit() {
  if (static_cast<int64_t>(request_.ByteSizeLong()) > context_.bus.payload_bytes_max()) {
    throw RequestFailed(
        {400, "prompt_too_long",
         fmt::format("the prompt's {} tokens are more than the mesh can carry", request_.prompt_ids_size())});
  }
  asio::co_spawn(context_.executor,
                 gateway::submit(context_, inbox_, request_,
                                 {.deadline = mesh::steady_now() + context_.limits.placement_time_max,
                                  .queue_time_max = context_.limits.queue_time_max}),
                 asio::detached);
}

bool Generation::placed() const {
  if (inbox_->client_gone()) throw mesh::ClientGone{};
  if (inbox_->failure()) {
    Failure failure = *inbox_->failure();
    throw RequestFailed(std::move(failure));
  }
  return inbox_->head().has_value();
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
  if (inbox_->head()) heal(now);
  if (inbox_->lost()) carry_on();
  if (inbox_->head() && now >= token_deadline()) fail_overdue();
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

const TokenOrder* Generation::order_with_gap() const {
  const auto& orders = inbox_->orders();
  for (size_t i = 0; i < finished_.size(); ++i) {
    if (!finished_[i] && orders[i].has_gap()) return &orders[i];
  }
  return nullptr;
}

TokenPiece Generation::take(uint32_t choice) {
  choice_last_ = choice;
  has_prompt_logprobs_ = true;
  TokenPiece piece = inbox_->orders()[choice].take();
  piece.choice = choice;
  tokens_last_ = mesh::steady_now();
  has_tokens_ = true;
  if (piece.finished()) {
    finished_[choice] = true;
    --unfinished_;
  }
  if (piece.finish_reason == v1::FINISH_REASON_ERROR) {
    throw RequestFailed(
        {.status = 500,
         .reason = "replica_error",
         .message = "the replica could not go on; the gateway's log has the reason under this request's id",
         .detail = piece.error});
  }
  return piece;
}

// Has the head send what was lost on its way; a head that cannot is as good as lost.
void Generation::heal(mesh::TimePoint now) {
  const TokenOrder* gap = order_with_gap();
  if (gap == nullptr) {
    gap_seen_.reset();
    if (now - std::max(advanced(), asked_again_) >= kAskAgainInSilence) ask_again(now);
    return;
  }
  if (!gap_seen_) gap_seen_ = now;
  if (now >= *gap_seen_ + context_.limits.lost_tokens_time_max) {
    inbox_->lose(
        {500, "tokens_lost", fmt::format("tokens from number {} on were lost on their way", gap->next_index())});
  } else if (now - asked_again_ >= kAskAgainForGap) {
    ask_again(now);
  }
}

void Generation::ask_again(mesh::TimePoint now) {
  asked_again_ = now;
  v1::ResendRequest request;
  request.set_request_id(request_.request_id());
  request.set_attempt(inbox_->attempt());
  request.set_gateway_id(request_.gateway_id());
  for (uint32_t choice = 0; choice < finished_.size(); ++choice) {
    if (finished_[choice]) continue;
    v1::ResendRequest::From& from = *request.add_from();
    from.set_choice(choice);
    from.set_next_index(inbox_->orders()[choice].next_index());
  }
  try {
    context_.bus.publish(mesh::subjects::replica_resend(inbox_->head()->replica_id), request);
  } catch (const std::exception& error) {
    mesh::log::warning("resend not asked for", {{"request_id", request_.request_id()}, {"error", error.what()}});
  }
}

// The head is lost: the rest of the request goes to another one, in the background.
void Generation::carry_on() {
  const Failure lost = *inbox_->lost();
  const std::string replica_id = inbox_->head() ? inbox_->head()->replica_id : "";
  cancel_on_head();  // it may only be out of reach
  if (recoveries_ >= context_.limits.recoveries_max) throw RequestFailed(lost);
  ++recoveries_;
  if (std::find(lost_replicas_.begin(), lost_replicas_.end(), replica_id) == lost_replicas_.end()) {
    if (lost_replicas_.size() == kLostReplicasMax) lost_replicas_.erase(lost_replicas_.begin());
    lost_replicas_.push_back(replica_id);
  }
  context_.metrics.count_recovery(lost.reason);
  mesh::log::info("carried on elsewhere", {{"request_id", request_.request_id()},
                                           {"attempt", inbox_->attempt()},
                                           {"replica_id", replica_id},
                                           {"reason", lost.reason},
                                           {"why", lost.detail.empty() ? lost.message : lost.detail}});
  v1::GenerateRequest request = remainder();
  inbox_->begin_attempt(inbox_->attempt());  // on no head, until the submission says on which
  gap_seen_.reset();
  asio::co_spawn(context_.executor,
                 gateway::submit(context_, inbox_, std::move(request),
                                 {.deadline = mesh::steady_now() + context_.limits.recovery_time_max,
                                  .queue_time_max = context_.limits.queue_time_max,
                                  .waits_for_room = true}),
                 asio::detached);
}

// What is left to generate: the choices that have not finished, each after the tokens that have come.
v1::GenerateRequest Generation::remainder() const {
  v1::GenerateRequest request = request_;
  request.clear_choices();
  for (uint32_t i = 0; i < finished_.size(); ++i) {
    if (finished_[i]) continue;
    v1::Choice& choice = *request.add_choices();
    choice = request_.choices(static_cast<int>(i));
    const std::vector<uint32_t>& ids = inbox_->orders()[i].ids();
    choice.mutable_output_ids()->Assign(ids.begin(), ids.end());
  }
  const auto prompt_tokens = static_cast<uint32_t>(request_.prompt_ids_size());
  if (inbox_->orders()[0].next_prompt_index() >= prompt_tokens) request.clear_prompt_logprobs();
  for (const std::string& replica_id : lost_replicas_) request.add_avoid_replicas(replica_id);
  request.clear_deadline_unix_ms();  // it was for the beginning
  // In a queue it stands before those that came after it.
  const auto age = std::chrono::duration_cast<milliseconds>(mesh::steady_now() - begun_).count();
  request.set_waited_ms(static_cast<uint32_t>(std::min<int64_t>(age, std::numeric_limits<int32_t>::max())));
  return request;
}

mesh::TimePoint Generation::advanced() const {
  return std::max(tokens_last_, inbox_->placed_at());
}

mesh::TimePoint Generation::token_deadline() const {
  const auto& limits = context_.limits;
  return advanced() + (has_tokens_ ? limits.token_gap_time_max : limits.first_token_time_max);
}

mesh::TimePoint Generation::deadline() const {
  if (!inbox_->head()) return mesh::TimePoint::max();  // the submission has limits of its own
  if (!gap_seen_) return std::min(token_deadline(), std::max(advanced(), asked_again_) + kAskAgainInSilence);
  return std::min(*gap_seen_ + context_.limits.lost_tokens_time_max, asked_again_ + kAskAgainForGap);
}

void Generation::fail_overdue() const {
  const auto& limits = context_.limits;
  if (has_tokens_) {
    throw RequestFailed({504, "token_gap", fmt::format("no token came for {} ms", limits.token_gap_time_max.count())});
  }
  throw RequestFailed({504, "first_token",
                       fmt::format("the first token did not come within {} ms", limits.first_token_time_max.count()),
                       "", kRetryAfterMin});
}

void Generation::finish(uint32_t choice) {
  if (finished_[choice]) return;
  finished_[choice] = true;
  --unfinished_;
  inbox_->orders()[choice].close();
  cancel_on_head(unfinished_ == 0 ? std::optional<uint32_t>() : choice);
}

void Generation::cancel() {
  if (unfinished_ == 0) return;
  unfinished_ = 0;
  cancel_on_head();
}

// A submission that is under way sees to it itself.
void Generation::cancel_on_head(std::optional<uint32_t> choice) {
  if (!inbox_->head()) return;
  publish_cancel(context_.bus, inbox_->head()->replica_id, request_.request_id(), inbox_->attempt(), choice);
}

}  // namespace bellwether::gateway
