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
  if (refused.code() == v1::REFUSAL_CODE_INVALID) return {400, "refused_invalid", message};
  const milliseconds retry_after(refused.retry_after_ms());
  return {503, refused.code() == v1::REFUSAL_CODE_OVERLOADED ? "overloaded" : "no_replica", message, "",
          std::max(retry_after, kRetryAfterMin)};
}

class Submission {
 public:
  Submission(GenerationContext& context, TokenInbox& inbox, v1::GenerateRequest& request, SubmissionLimits limits)
      : context_(context), inbox_(inbox), request_(request), limits_(limits) {}

  asio::awaitable<void> run() {
    milliseconds pause = kWaitMin;
    for (;;) {
      const std::optional<Failure> failure = co_await ask_once();
      if (inbox_.client_gone() || !failure) co_return;
      if (!may_retry(*failure) || mesh::steady_now() + pause >= limits_.deadline) {
        inbox_.interrupt(*failure);
        co_return;
      }
      asio::steady_timer timer(context_.executor, pause);
      co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
      pause = std::min(2 * pause, kWaitMax);
      if (inbox_.client_gone()) co_return;
    }
  }

 private:
  [[nodiscard]] bool may_retry(const Failure& failure) const {
    if (failure.reason == "no_scheduler") return true;
    return limits_.waits_for_room && (failure.reason == "no_replica" || failure.reason == "overloaded");
  }

  // One attempt. Nothing when it was placed.
  asio::awaitable<std::optional<Failure>> ask_once() {
    request_.set_attempt(inbox_.attempt() + 1);
    inbox_.begin_attempt(request_.attempt());
    const auto left = std::chrono::duration_cast<milliseconds>(limits_.deadline - mesh::steady_now());
    std::optional<Failure> failure;
    v1::GenerateReply reply;
    try {
      reply = co_await context_.bus.request<v1::GenerateReply>(mesh::subjects::request(request_.model()), request_,
                                                               std::clamp(left, milliseconds(1), kAnswerTimeMax));
    } catch (const Error& error) {
      failure = no_answer(error);
    }
    if (failure) {
      cancel_everywhere();  // a head may have taken the request although its answer did not come back
      co_return failure;
    }
    if (reply.has_placed()) {
      accept(reply.placed());
      co_return std::nullopt;
    }
    if (reply.has_refused()) co_return refusal(reply.refused());
    cancel_everywhere();
    co_return Failure{500, "internal", "the scheduler gave an answer that this gateway does not understand"};
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
