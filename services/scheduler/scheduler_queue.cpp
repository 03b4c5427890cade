// What waits at a scheduler: how it comes into the queue, and how it leaves.
#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "mesh/clock.h"
#include "mesh/error.h"
#include "mesh/log.h"
#include "mesh/subjects.h"
#include "scheduler/replies.h"
#include "scheduler/scheduler.h"

namespace bellwether::scheduler {
namespace {

namespace asio = boost::asio;
namespace log = mesh::log;
namespace subjects = mesh::subjects;

// A poll that has waited so long is answered that there is nothing new. With the longest placement it stays below what
// a gateway waits for an answer.
constexpr std::chrono::milliseconds kPollAnsweredAfter{500};
constexpr std::chrono::milliseconds kTellEvery{250};
// An autoscaler repeats its decisions every 10 s; one heard so lately may start a replica where there is none.
constexpr std::chrono::seconds kAutoscalerForgottenAfter{30};
constexpr double kWaitMsMax = 3600 * 1000;

}  // namespace

bool Scheduler::may_wait(const std::string& model, const v1::GenerateReply& reply) const {
  if (!reply.has_refused() || settings_.queue_requests_max == 0) return false;
  if (reply.refused().code() == v1::REFUSAL_CODE_OVERLOADED) return true;
  if (reply.refused().code() != v1::REFUSAL_CODE_NO_REPLICA) return false;
  return replicas().is_loading(model) || scaled_.contains(model);
}

void Scheduler::on_scale(const v1::ScaleDecision& decision) {
  if (decision.model().size() > kNameBytesMax) return;
  if (scaled_.size() < kModelsMax || scaled_.contains(decision.model())) {
    scaled_[decision.model()] = mesh::steady_now();
  }
}

v1::GenerateReply Scheduler::enqueue(WaitingRequest&& waiting) {
  const RequestKey key = waiting.candidate.key;
  const std::string model = waiting.candidate.model;
  const std::string tenant = waiting.candidate.tenant;
  std::vector<WaitingRequest> driven_out;
  waiting.span.event("queued");
  const RequestQueue::Outcome outcome = queue_.push(std::move(waiting), driven_out);
  for (WaitingRequest& each : driven_out) {
    answer_waiting(each, refused(v1::REFUSAL_CODE_OVERLOADED,
                                 "The queue is full, and requests of a better priority came.", retry_after_ms(model)));
  }
  if (outcome == RequestQueue::Outcome::kQueued) {
    log::info("queued", {{"request_id", key.request_id}, {"attempt", key.attempt}, {"model", model}});
    const auto line = queue_.in_order(model);
    const auto place = std::find(line.begin(), line.end(), queue_.find(key));
    return queued(model, static_cast<size_t>(place - line.begin()));
  }
  const bool of_tenant = outcome == RequestQueue::Outcome::kTenantFull;
  const v1::GenerateReply reply =
      of_tenant ? refused(v1::REFUSAL_CODE_TENANT_LIMIT,
                          fmt::format("Too many requests of tenant '{}' wait already.", tenant), retry_after_ms(model))
                : refused(v1::REFUSAL_CODE_OVERLOADED,
                          fmt::format("Every replica of model '{}' is full, and so is the queue.", model),
                          retry_after_ms(model));
  describe(waiting.span, waiting.request, reply);  // it was not taken
  metrics_.count_request(model, replicas().knows_model(model), outcome_name(reply));
  return reply;
}

v1::GenerateReply Scheduler::queued(const std::string& model, size_t position) {
  v1::GenerateReply reply;
  v1::Queued& told = *reply.mutable_queued();
  told.set_position(static_cast<uint32_t>(position));
  told.set_scheduler_id(id_);
  // The other schedulers' queues are taken to be as long: all of them wait for the same places.
  const double before = static_cast<double>(position + 1) * static_cast<double>(schedulers_.size() + 1);
  if (const double pace = frees_per_s(model); pace > 0) {
    told.set_estimated_wait_ms(static_cast<uint32_t>(std::min(kWaitMsMax, 1000 * before / pace)));
  }
  return reply;
}

void Scheduler::on_poll(const v1::QueuePoll& poll, const mesh::BusMessage& message) {
  const RequestKey key{poll.request_id(), poll.attempt()};
  WaitingRequest* waiting = queue_.find(key);
  if (poll.leave()) {
    if (waiting != nullptr) queue_.take(key);
    return;
  }
  if (waiting == nullptr) {
    respond(message, refused(v1::REFUSAL_CODE_DRAINING, "This scheduler does not hold the request.", 0));
    return;
  }
  waiting->polled_at = mesh::steady_now();
  waiting->poll = message;
  serve_queue(waiting->candidate.model);
}

void Scheduler::serve_queue(const std::string& model) {
  if (stopping_) return;
  while (WaitingRequest* waiting = queue_.first(model)) {
    std::optional<PlacedOn> head = reserve(waiting->request, waiting->candidate, waiting->strategy);
    if (!head) return;
    spawn(place_waiting(queue_.take(RequestKey(waiting->candidate.key)), *std::move(head)));
  }
}

asio::awaitable<void> Scheduler::place_waiting(WaitingRequest waiting, PlacedOn head) {
  try {
    const v1::GenerateReply reply =
        co_await place(waiting.request, waiting.candidate, waiting.strategy, std::move(head));
    if (!stopping_ && may_wait(waiting.candidate.model, reply)) {
      queue_.put_back(std::move(waiting));
    } else {
      answer_waiting(waiting, reply);
    }
  } catch (const std::exception& error) {
    log::error("request not answered", {{"request_id", waiting.candidate.key.request_id}, {"error", error.what()}});
  }
  finish_task();
}

// The end of its waiting, for its gateway and for the metrics.
void Scheduler::answer_waiting(WaitingRequest& waiting, const v1::GenerateReply& reply) {
  describe(waiting.span, waiting.request, reply);
  metrics_.observe_wait(mesh::steady_now() - waiting.since);
  finish(waiting.request, reply, mesh::steady_now() - waiting.since);
  if (waiting.poll) respond(*waiting.poll, reply);
}

void Scheduler::maintain_queue() {
  const mesh::TimePoint now = mesh::steady_now();
  std::erase_if(scaled_, [&](const auto& entry) { return now - entry.second > kAutoscalerForgottenAfter; });
  for (WaitingRequest& overdue : queue_.take_overdue(now)) {
    const std::string& model = overdue.candidate.model;
    const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(now - overdue.since);
    answer_waiting(overdue, refused(v1::REFUSAL_CODE_OVERLOADED,
                                    fmt::format("No replica of model '{}' had room for {} ms.", model, waited.count()),
                                    retry_after_ms(model)));
  }
  for (const std::string& model : queue_.models()) {
    const bool hopeless = replicas().view(model).empty() && !replicas().is_loading(model) && !scaled_.contains(model);
    if (hopeless) {
      for (WaitingRequest& each : queue_.take_all(model)) answer_waiting(each, refuse(model, /*full=*/false));
    } else {
      serve_queue(model);
      answer_old_polls(model);
    }
    if (now - queues_told_[model] >= kTellEvery) tell_queue(model);
  }
  // Those that have emptied, once.
  for (auto told = queues_told_.begin(); told != queues_told_.end();) {
    const std::string model = (told++)->first;
    if (queue_.size(model) > 0) continue;
    tell_queue(model);
    queues_told_.erase(model);
  }
}

void Scheduler::answer_old_polls(const std::string& model) {
  const mesh::TimePoint now = mesh::steady_now();
  size_t position = 0;
  for (WaitingRequest* waiting : queue_.in_order(model)) {
    if (waiting->poll && now - waiting->polled_at >= kPollAnsweredAfter) {
      waiting->polled_at = now;
      respond(*std::exchange(waiting->poll, {}), queued(model, position));
    }
    ++position;
  }
}

void Scheduler::tell_queue(const std::string& model) {
  const mesh::TimePoint now = mesh::steady_now();
  v1::QueueState state;
  state.set_scheduler_id(id_);
  state.set_model(model);
  state.set_waiting(static_cast<uint32_t>(queue_.size(model)));
  if (const auto oldest = queue_.oldest(model)) {
    const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(now - *oldest);
    state.set_oldest_wait_ms(static_cast<uint32_t>(waited.count()));
  }
  queues_told_[model] = now;
  try {
    bus_.publish(subjects::queue(model), state, mesh::Urgency::kBatched);
  } catch (const mesh::Error& error) {
    log::warning("queue not told", {{"model", model}, {"error", error.what()}});
  }
}

// Their gateways ask another scheduler.
void Scheduler::send_away_waiting() {
  for (const std::string& model : queue_.models()) {
    for (WaitingRequest& each : queue_.take_all(model)) {
      answer_waiting(each, refused(v1::REFUSAL_CODE_DRAINING, "This scheduler is shutting down.", 0));
    }
  }
}

}  // namespace bellwether::scheduler
