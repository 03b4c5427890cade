#include "api-gateway/submission.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <optional>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "mesh/error.h"
#include "mesh/log.h"
#include "mesh/subjects.h"

namespace bellwether::gateway {

namespace asio = boost::asio;
using mesh::Error;
using mesh::ErrorCode;
using std::chrono::milliseconds;

namespace {

// A scheduler that has said nothing for so long is gone: it tries three heads for half a second each.
constexpr milliseconds kAnswerTimeMax{2000};
// It answers a poll after half a second, if it is not just placing the request.
constexpr milliseconds kPollTimeMax{2500};
constexpr milliseconds kWaitMin{50};
constexpr milliseconds kWaitMax{500};

Failure no_answer(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kUnavailable:
      return {503, "no_scheduler", "no scheduler is reachable at the moment", "", kRetryAfterMin};
    case ErrorCode::kDeadlineExceeded:
      return {503, "no_scheduler", "no scheduler answered in time", "", kRetryAfterMin};
    default:
      return failure_of(error);
  }
}

Failure refusal(const v1::Refused& refused) {
  const std::string message = refused.message().empty() ? "no replica can take this request now" : refused.message();
  const milliseconds retry_after = std::max(milliseconds(refused.retry_after_ms()), kRetryAfterMin);
  switch (refused.code()) {
    case v1::REFUSAL_CODE_INVALID:
      return {400, "refused_invalid", message};
    case v1::REFUSAL_CODE_TENANT_LIMIT:
      return {429, "tenant_limit", message, "", retry_after};
    case v1::REFUSAL_CODE_OVERLOADED:
      return {503, "overloaded", message, "", retry_after};
    case v1::REFUSAL_CODE_DRAINING:  // that scheduler is going, or has been started anew
      return {503, "no_scheduler", message, "", retry_after};
    default:
      return {503, "no_replica", message, "", retry_after};
  }
}

class Submission {
 public:
  Submission(GenerationContext& context, TokenInbox& inbox, v1::GenerateRequest& request, SubmissionLimits limits)
      : context_(context), inbox_(inbox), request_(request), limits_(limits) {}

  asio::awaitable<void> run() {
    milliseconds pause = kWaitMin;
    for (;;) {
      const std::optional<Failure> failure = co_await ask_once();
      if (nobody_waits() || !failure) co_return;
      if (!may_retry(*failure) || mesh::steady_now() + pause >= deadline()) {
        inbox_.interrupt(*failure);
        co_return;
      }
      asio::steady_timer timer(context_.executor, pause);
      co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
      pause = std::min(2 * pause, kWaitMax);
      if (nobody_waits()) co_return;
    }
  }

 private:
  [[nodiscard]] bool nobody_waits() const { return inbox_.client_gone() || inbox_.failure(); }

  [[nodiscard]] mesh::TimePoint deadline() const {
    return queued_since_ ? std::max(limits_.deadline, *queued_since_ + limits_.queue_time_max) : limits_.deadline;
  }

  [[nodiscard]] bool may_retry(const Failure& failure) const {
    if (failure.reason == "no_scheduler") return true;
    return limits_.waits_for_room && (failure.reason == "no_replica" || failure.reason == "overloaded");
  }

  // One attempt. Nothing when it was placed.
  asio::awaitable<std::optional<Failure>> ask_once() {
    request_.set_attempt(inbox_.attempt() + 1);
    inbox_.begin_attempt(request_.attempt());
    request_.set_waited_ms(waited_before_ms_ + queued_ms());
    const auto left = std::chrono::duration_cast<milliseconds>(deadline() - mesh::steady_now());
    v1::GenerateReply reply;
    std::optional<Failure> failure = co_await ask(mesh::subjects::request(request_.model()), request_, reply,
                                                  std::clamp(left, milliseconds(1), kAnswerTimeMax));
    while (!failure && reply.has_queued()) failure = co_await wait_in_queue(reply);
    if (failure) co_return failure;
    if (reply.has_placed()) {
      accept(reply.placed());
      co_return std::nullopt;
    }
    if (reply.has_refused()) co_return refusal(reply.refused());
    cancel_everywhere();
    co_return Failure{500, "internal", "the scheduler gave an answer that this gateway does not understand"};
  }

  // What is asked must outlive it. Failure when no answer came.
  template <class Message>
  asio::awaitable<std::optional<Failure>> ask(std::string subject, const Message& message, v1::GenerateReply& reply,
                                              milliseconds time_max) {
    std::optional<Failure> failure;
    try {
      reply = co_await context_.bus.request<v1::GenerateReply>(std::move(subject), message, time_max);
    } catch (const Error& error) {
      failure = no_answer(error);
    }
    if (failure) cancel_everywhere();  // a head may have taken the request although its answer did not come back
    co_return failure;
  }

  // Until the scheduler that holds the request says something.
  asio::awaitable<std::optional<Failure>> wait_in_queue(v1::GenerateReply& reply) {
    if (!queued_since_) queued_since_ = mesh::steady_now();
    inbox_.queue({reply.queued().position(), milliseconds(reply.queued().estimated_wait_ms())});
    v1::QueuePoll poll;
    poll.set_request_id(request_.request_id());
    poll.set_attempt(request_.attempt());
    const std::string subject = mesh::subjects::scheduler_poll(reply.queued().scheduler_id());
    const bool overdue = mesh::steady_now() >= deadline();
    if (overdue || nobody_waits()) {
      poll.set_leave(true);
      context_.bus.publish(subject, poll);
      co_return Failure{503, "overloaded", fmt::format("no replica had room for this request in {} ms", queued_ms()),
                        "", std::max(milliseconds(reply.queued().estimated_wait_ms()), kRetryAfterMin)};
    }
    co_return co_await ask(subject, poll, reply, kPollTimeMax);
  }

  // Since it first came into a queue.
  [[nodiscard]] uint32_t queued_ms() const {
    if (!queued_since_) return 0;
    return static_cast<uint32_t>(std::chrono::duration_cast<milliseconds>(mesh::steady_now() - *queued_since_).count());
  }

  void accept(const v1::Placed& placed) {
    if (inbox_.client_gone()) return cancel(placed.replica_id());
    const Head head{placed.replica_id(), placed.epoch()};
    inbox_.place(head);
    for (const v1::Choice& choice : request_.choices()) {
      // Its end was found among the tokens of the attempt before.
      if (inbox_.orders()[choice.index()].closed()) cancel(head.replica_id, choice.index());
    }
    if (!context_.directory.expect(head)) inbox_.lose(replica_gone("it left as the request came"));
  }

  void cancel(const std::string& replica_id, std::optional<uint32_t> choice = {}) {
    publish_cancel(context_.bus, replica_id, request_.request_id(), request_.attempt(), choice);
  }

  void cancel_everywhere() {
    for (const Head& head : context_.directory.heads_of(request_.model())) cancel(head.replica_id);
  }

  GenerationContext& context_;
  TokenInbox& inbox_;
  v1::GenerateRequest& request_;
  const SubmissionLimits limits_;
  const uint32_t waited_before_ms_ = request_.waited_ms();
  std::optional<mesh::TimePoint> queued_since_;
};

}  // namespace

asio::awaitable<void> submit(GenerationContext& context, std::shared_ptr<TokenInbox> inbox, v1::GenerateRequest request,
                             SubmissionLimits limits) {
  ++context.submissions;
  try {
    Submission submission(context, *inbox, request, limits);
    co_await submission.run();
  } catch (const std::exception& error) {
    mesh::log::error("request not submitted", {{"request_id", request.request_id()}, {"error", error.what()}});
    inbox->interrupt({500, "internal", "the request could not be submitted"});
  }
  --context.submissions;
}

void publish_cancel(mesh::Bus& bus, const std::string& replica_id, const std::string& request_id, uint32_t attempt,
                    std::optional<uint32_t> choice) {
  try {
    v1::CancelRequest cancel;
    cancel.set_request_id(request_id);
    cancel.set_attempt(attempt);
    if (choice) cancel.add_choices(*choice);
    bus.publish(mesh::subjects::replica_cancel(replica_id), cancel);
  } catch (const std::exception& error) {
    mesh::log::warning("cancel not sent",
                       {{"request_id", request_id}, {"replica_id", replica_id}, {"error", error.what()}});
  }
}

Failure replica_gone(const std::string& why) {
  return {503, "replica_gone", "the replica that served this request is gone", "", kRetryAfterMin, why};
}

}  // namespace bellwether::gateway
