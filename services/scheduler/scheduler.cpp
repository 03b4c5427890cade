#include "scheduler/scheduler.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <exception>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "mesh/clock.h"
#include "mesh/error.h"
#include "mesh/ids.h"
#include "mesh/log.h"
#include "mesh/subjects.h"
#include "scheduler/replies.h"

namespace bellwether::scheduler {
namespace {

namespace asio = boost::asio;
namespace log = mesh::log;
namespace subjects = mesh::subjects;

// A little more than the time between two heartbeats: a scheduler that has listened for so long knows the heads, and
// one that has not would refuse what the others can place.
constexpr std::chrono::milliseconds kListenFirst{300};
constexpr std::chrono::milliseconds kFlushWait{1000};
constexpr std::chrono::milliseconds kMaintainEvery{100};
constexpr std::chrono::seconds kSchedulerForgottenAfter{60};
constexpr int kAvoidedMax = 16;  // replicas that a request says
constexpr uint32_t kWaitedMsMax = 3600 * 1000;
constexpr std::chrono::milliseconds kDumpWait{2000};  // for a piece of a dump

std::optional<v1::GenerateReply> refuse_invalid(const v1::GenerateRequest& request) {
  if (request.request_id().empty() || request.request_id().size() > kNameBytesMax) {
    return refused(v1::REFUSAL_CODE_INVALID, fmt::format("request_id must have 1 to {} bytes", kNameBytesMax), 0);
  }
  return std::nullopt;
}

v1::GenerateReply refuse_strategy(const std::string& name) {
  return refused(v1::REFUSAL_CODE_INVALID,
                 fmt::format("routing-strategy '{}' is unknown; there are {}", name.substr(0, kNameBytesMax),
                             fmt::join(strategy_names(), ", ")),
                 0);
}

// Until when the request may wait here: the setting's time, or the request's own deadline. What it has waited elsewhere
// is its gateway's to count.
mesh::TimePoint wait_deadline(const v1::GenerateRequest& request, std::chrono::milliseconds wait_max) {
  std::chrono::milliseconds left = wait_max;
  if (request.deadline_unix_ms() > 0) {
    const uint64_t now = mesh::unix_ms_now();
    const uint64_t own = request.deadline_unix_ms() - std::min(request.deadline_unix_ms(), now);
    left = std::min(left, std::chrono::milliseconds(std::min<uint64_t>(own, kWaitedMsMax)));
  }
  return mesh::steady_now() + left;
}

// `tried` and those that lost earlier attempts.
std::vector<std::string> with(std::vector<std::string> tried,
                              const google::protobuf::RepeatedPtrField<std::string>& avoided) {
  const int count = std::min(avoided.size(), kAvoidedMax);
  tried.insert(tried.end(), avoided.begin(), avoided.begin() + count);
  return tried;
}

bool has_untried(const std::vector<ReplicaView>& heads, const std::vector<std::string>& tried) {
  return std::any_of(heads.begin(), heads.end(), [&](const ReplicaView& head) {
    return std::find(tried.begin(), tried.end(), head.replica_id) == tried.end();
  });
}

}  // namespace

Scheduler::Scheduler(asio::io_context& io, mesh::Bus& bus, prometheus::Registry& registry, mesh::Tracer& tracer,
                     SchedulerSettings settings, std::function<void()> on_ready)
    : io_(io),
      bus_(bus),
      tracer_(tracer),
      settings_(std::move(settings)),
      model_strategies_(scheduler::model_strategies(settings_)),
      on_ready_(std::move(on_ready)),
      id_(mesh::random_id("scheduler")),
      placer_(placer_options(id_, settings_), mesh::steady_now),
      queue_(queue_options(settings_),
             [this](const std::string& tenant) { return placer_.tenants().work(tenant, mesh::steady_now()); }),
      metrics_(registry),
      canary_(io, bus, id_),
      listen_timer_(io),
      maintain_timer_(io),
      all_tasks_done_(io) {
  states_ = bus_.subscribe<v1::ReplicaState>(
      subjects::kAllReplicaStates, [this](const v1::ReplicaState& state, const mesh::BusMessage&) { on_state(state); });
  dispatches_ = bus_.subscribe<v1::Dispatch>(
      subjects::kDispatch, [this](const v1::Dispatch& event, const mesh::BusMessage&) { on_dispatch(event); });
  kv_events_ = bus_.subscribe<v1::KvEvents>(
      subjects::kAllKvEvents, [this](const v1::KvEvents& events, const mesh::BusMessage&) { on_kv_events(events); });
  scale_decisions_ = bus_.subscribe<v1::ScaleDecision>(
      subjects::kAllScaleDecisions,
      [this](const v1::ScaleDecision& decision, const mesh::BusMessage&) { on_scale(decision); });
  polls_ = bus_.subscribe<v1::QueuePoll>(
      subjects::scheduler_poll(id_),
      [this](const v1::QueuePoll& poll, const mesh::BusMessage& message) { on_poll(poll, message); });
  listen_timer_.expires_after(kListenFirst);
  listen_timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (!error && !alive.expired()) spawn(listen_to_requests());
  });
  maintain();
}

Scheduler::~Scheduler() = default;

asio::awaitable<void> Scheduler::stop() {
  stopping_ = true;
  requests_.reset();
  listen_timer_.cancel();
  send_away_waiting();
  canary_.stop();
  while (tasks_ > 0) {
    all_tasks_done_.expires_at(asio::steady_timer::time_point::max());
    boost::system::error_code cancelled;
    co_await all_tasks_done_.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  }
  send_away_waiting();  // those in hand that found no head
  maintain_timer_.cancel();
  scale_decisions_.reset();
  states_.reset();
  dispatches_.reset();
  kv_events_.reset();
}

asio::awaitable<void> Scheduler::listen_to_requests() {
  if (!stopping_) {
    requests_ = bus_.subscribe<v1::GenerateRequest>(
        subjects::kAllRequests,
        [this](const v1::GenerateRequest& request, const mesh::BusMessage& message) { on_request(request, message); },
        subjects::kSchedulerQueue);
    // Ready is who receives requests, and the server must have heard of that.
    while (!stopping_ && !co_await bus_.flush(kFlushWait)) log::warning("the bus does not answer");
  }
  if (!stopping_) {
    log::info("taking requests", {{"scheduler_id", id_}});
    on_ready_();
  }
  finish_task();
}

void Scheduler::maintain() {
  const mesh::TimePoint now = mesh::steady_now();
  for (const std::string& id : placer_.maintain()) {
    log::warning("replica not heard in time", {{"replica_id", id}});
    breakers_.erase(id);
  }
  std::erase_if(schedulers_, [&](const auto& entry) { return now - entry.second > kSchedulerForgottenAfter; });
  std::erase_if(traffic_, [&](const auto& entry) { return !replicas().knows_model(entry.first); });
  maintain_queue();
  send_canaries();
  const auto open =
      std::count_if(breakers_.begin(), breakers_.end(), [](const auto& each) { return each.second.open(); });
  metrics_.update(replicas(), kv(), queue_.size(), static_cast<size_t>(open));
  fetch_dumps();
  maintain_timer_.expires_after(kMaintainEvery);
  maintain_timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (!error && !alive.expired()) maintain();
  });
}

void Scheduler::on_state(const v1::ReplicaState& state) {
  const StateEffect effect = placer_.apply(state);
  if (effect == StateEffect::kJoined || effect == StateEffect::kUpdated || effect == StateEffect::kLeft) watch(state);
  if (effect == StateEffect::kJoined || effect == StateEffect::kUpdated) serve_queue(state.model());
  switch (effect) {
    case StateEffect::kJoined:
      log::info("replica joined", {{"replica_id", state.replica_id()},
                                   {"epoch", state.epoch()},
                                   {"model", state.model()},
                                   {"phase", v1::ReplicaPhase_Name(state.phase())}});
      return;
    case StateEffect::kLeft:
      log::info("replica left", {{"replica_id", state.replica_id()},
                                 {"epoch", state.epoch()},
                                 {"phase", v1::ReplicaPhase_Name(state.phase())},
                                 {"failure", state.failure()}});
      return;
    case StateEffect::kUpdated:
      return;
    case StateEffect::kOutdated:
      return metrics_.count_ignored_state("outdated");
    case StateEffect::kInvalid:
      return metrics_.count_ignored_state("invalid");
    case StateEffect::kTableFull:
      return metrics_.count_ignored_state("table_full");
  }
}

void Scheduler::on_dispatch(const v1::Dispatch& event) {
  const bool of_peer = event.kind() == v1::Dispatch::RESERVE && !event.scheduler_id().empty() &&
                       event.scheduler_id().size() <= kNameBytesMax && event.scheduler_id() != id_;
  if (of_peer && (schedulers_.size() < kSchedulersMax || schedulers_.contains(event.scheduler_id()))) {
    schedulers_[event.scheduler_id()] = mesh::steady_now();
  }
  if (!placer_.apply(event)) return;
  head_finished(event);
  if (Traffic* measured = traffic(event.model())) measured->frees.record(mesh::steady_now());
  serve_queue(event.model());
}

void Scheduler::on_kv_events(const v1::KvEvents& events) {
  placer_.apply(events);
}

void Scheduler::fetch_dumps() {
  if (stopping_) return;
  for (const std::string& id : kv().wants_dump()) {
    if (dumping_.insert(id).second) spawn(fetch_dump(id));
  }
}

asio::awaitable<void> Scheduler::fetch_dump(std::string replica_id) {
  std::optional<v1::KvDumpRequest> next = placer_.begin_dump(replica_id);
  try {
    while (next) {
      const auto chunk =
          co_await bus_.request<v1::KvDumpChunk>(subjects::replica_kv_dump(replica_id), *next, kDumpWait);
      next = placer_.apply(replica_id, chunk);
    }
  } catch (const mesh::Error& error) {
    log::warning("the head's cache was not told", {{"replica_id", replica_id}, {"error", error.what()}});
    placer_.dump_failed(replica_id);
  }
  dumping_.erase(replica_id);
  finish_task();
}

void Scheduler::on_request(const v1::GenerateRequest& request, const mesh::BusMessage& message) {
  spawn(answer(request, message));
}

asio::awaitable<void> Scheduler::answer(v1::GenerateRequest request, mesh::BusMessage message) {
  try {
    respond(message, co_await handle(std::move(request)));
  } catch (const std::exception& error) {
    // The gateway hears nothing and tries again or gives up, as if this scheduler had died.
    log::error("request not answered", {{"subject", message.subject}, {"error", error.what()}});
  }
  finish_task();
}

asio::awaitable<v1::GenerateReply> Scheduler::handle(v1::GenerateRequest request) {
  const mesh::TimePoint arrived = mesh::steady_now();
  mesh::Span span = tracer_.continue_trace("place", mesh::SpanKind::kServer, request.traceparent());
  if (span.recorded()) request.set_traceparent(span.traceparent());
  const auto done = [&](const v1::GenerateReply& reply) {
    describe(span, request, reply);
    finish(request, reply, mesh::steady_now() - arrived);
  };
  if (auto invalid = refuse_invalid(request)) {
    done(*invalid);
    co_return *std::move(invalid);
  }
  const std::optional<Strategy> strategy = strategy_of(request);
  if (!strategy) {
    const v1::GenerateReply reply = refuse_strategy(request.routing_strategy());
    done(reply);
    co_return reply;
  }
  Candidate candidate = candidate_of(request);
  queue_.drop_older(candidate.key);
  v1::GenerateReply reply;
  if (!queue_.anyone_before(request.model(), request.priority())) {
    reply = co_await place(request, candidate, *strategy);
    if (stopping_ || !may_wait(request.model(), reply)) {
      done(reply);
      co_return reply;
    }
  }
  WaitingRequest waiting{.candidate = std::move(candidate),
                         .strategy = *strategy,
                         .since = arrived - std::chrono::milliseconds(std::min(request.waited_ms(), kWaitedMsMax)),
                         .deadline = wait_deadline(request, std::chrono::milliseconds(settings_.queue_wait_ms_max)),
                         .polled_at = mesh::steady_now()};
  waiting.request = std::move(request);
  waiting.span = std::move(span);
  co_return enqueue(std::move(waiting));
}

void Scheduler::finish(const v1::GenerateRequest& request, const v1::GenerateReply& reply,
                       std::chrono::duration<double> took) {
  metrics_.count_request(request.model(), replicas().knows_model(request.model()), outcome_name(reply));
  metrics_.observe_placement(took);
  log::info(reply.has_placed() ? "placed" : "refused",
            {{"request_id", request.request_id().substr(0, kNameBytesMax)},
             {"attempt", request.attempt()},
             {"model", request.model()},
             {"replica_id", reply.placed().replica_id()},
             {"reason", reply.refused().message()},
             {"retry_after_ms", reply.refused().retry_after_ms()},
             {"took_ms", std::chrono::duration<double, std::milli>(took).count()}});
}

void Scheduler::spawn(asio::awaitable<void> task) {
  ++tasks_;
  asio::co_spawn(io_, std::move(task), asio::detached);
}

void Scheduler::finish_task() {
  if (--tasks_ == 0) all_tasks_done_.cancel();
}

asio::awaitable<v1::GenerateReply> Scheduler::place(const v1::GenerateRequest& request, const Candidate& candidate,
                                                    Strategy strategy, std::optional<PlacedOn> first) {
  bool full = false;
  std::vector<std::string> tried;
  while (tried.size() < kHeadsTriedMax) {
    std::optional<PlacedOn> head = first ? std::exchange(first, {}) : reserve(request, candidate, strategy, tried);
    if (!head) {
      full = full || has_untried(replicas().view(request.model()), tried);
      break;
    }
    tried.push_back(head->replica_id);
    std::optional<v1::GenerateReply> reply = co_await offer(request, *head);
    if (reply && reply->has_placed()) co_return *std::move(reply);
    give_back(candidate, *head);
    if (reply && reply->refused().code() == v1::REFUSAL_CODE_INVALID) co_return *std::move(reply);
    full = full || (reply && reply->refused().code() == v1::REFUSAL_CODE_OVERLOADED);
  }
  co_return refuse(request.model(), full);
}

std::optional<Strategy> Scheduler::strategy_of(const v1::GenerateRequest& request) const {
  if (!request.routing_strategy().empty()) return find_strategy(request.routing_strategy());
  const auto of_model = model_strategies_.find(request.model());
  return of_model == model_strategies_.end() ? find_strategy(settings_.strategy) : of_model->second;
}

std::optional<PlacedOn> Scheduler::reserve(const v1::GenerateRequest& request, const Candidate& candidate,
                                           Strategy strategy, const std::vector<std::string>& tried) {
  std::optional<PlacedOn> head = placer_.place(candidate, strategy, tie_order(), with(tried, request.avoid_replicas()));
  if (!head && !request.avoid_replicas().empty()) head = placer_.place(candidate, strategy, tie_order(), tried);
  if (head) publish(placer_.reservation(candidate, *head));
  return head;
}

void Scheduler::give_back(const Candidate& candidate, const PlacedOn& head) {
  placer_.release(candidate.key, head.replica_id);
  v1::Dispatch event;
  event.set_kind(v1::Dispatch::FREE);
  event.set_request_id(candidate.key.request_id);
  event.set_attempt(candidate.key.attempt);
  event.set_replica_id(head.replica_id);
  event.set_epoch(head.epoch);
  event.set_model(candidate.model);
  event.set_scheduler_id(id_);
  publish(event);
}

asio::awaitable<std::optional<v1::GenerateReply>> Scheduler::offer(const v1::GenerateRequest& request,
                                                                   const PlacedOn& head) {
  const std::chrono::milliseconds timeout(settings_.work_timeout_ms);
  try {
    const v1::GenerateReply reply =
        co_await bus_.request<v1::GenerateReply>(subjects::replica_work(head.replica_id), request, timeout);
    metrics_.count_offer(reply.has_placed() ? "placed" : "refused");
    head_answered(head.replica_id, true);
    if (!reply.has_placed()) {
      log::info("head refused", {{"request_id", request.request_id()},
                                 {"replica_id", head.replica_id},
                                 {"code", v1::RefusalCode_Name(reply.refused().code())},
                                 {"reason", reply.refused().message()}});
    }
    co_return reply;
  } catch (const mesh::Error& error) {
    const bool unreachable = error.code() == mesh::ErrorCode::kUnavailable;
    metrics_.count_offer(unreachable ? "unreachable" : "silent");
    log::warning("head did not answer",
                 {{"request_id", request.request_id()}, {"replica_id", head.replica_id}, {"error", error.what()}});
    head_answered(head.replica_id, false);
    if (!unreachable) cancel(request, head);
    co_return std::nullopt;
  }
}

// A head that was only slow would compute a request that another head has by now.
void Scheduler::cancel(const v1::GenerateRequest& request, const PlacedOn& head) {
  v1::CancelRequest order;
  order.set_request_id(request.request_id());
  order.set_attempt(request.attempt());
  try {
    bus_.publish(subjects::replica_cancel(head.replica_id), order);
  } catch (const mesh::Error& error) {
    log::warning("cancel not sent", {{"request_id", request.request_id()}, {"error", error.what()}});
  }
}

v1::GenerateReply Scheduler::refuse(const std::string& model, bool full) {
  if (!full) {
    return refused(v1::REFUSAL_CODE_NO_REPLICA, fmt::format("No replica of model '{}' is ready.", model),
                   kNoReplicaRetryAfterMs);
  }
  return refused(v1::REFUSAL_CODE_OVERLOADED, fmt::format("Every replica of model '{}' is full.", model),
                 retry_after_ms(model));
}

uint32_t Scheduler::retry_after_ms(const std::string& model) {
  const mesh::TimePoint now = mesh::steady_now();
  uint64_t before = queue_.size(model);
  if (Traffic* measured = traffic(model)) {
    before += measured->refusals.count(now, 1);
    measured->refusals.record(now);
  }
  return overloaded_retry_after_ms(frees_per_s(model), before);
}

double Scheduler::frees_per_s(const std::string& model) {
  Traffic* measured = traffic(model);
  if (measured == nullptr) return 0;
  return static_cast<double>(measured->frees.count(mesh::steady_now(), RecentCount::kSpan - 1)) / RecentCount::kSpan;
}

void Scheduler::respond(const mesh::BusMessage& to, const v1::GenerateReply& reply) {
  try {
    bus_.respond(to, reply);
  } catch (const mesh::Error& error) {
    log::warning("answer not sent", {{"subject", to.subject}, {"error", error.what()}});
  }
}

// An event that cannot be sent is made good by the heads' reports.
void Scheduler::publish(const v1::Dispatch& event) {
  try {
    bus_.publish(subjects::kDispatch, event);
  } catch (const mesh::Error& error) {
    log::warning("dispatch event not sent", {{"request_id", event.request_id()}, {"error", error.what()}});
  }
}

TieOrder Scheduler::tie_order() const {
  const auto before = std::distance(schedulers_.begin(), schedulers_.lower_bound(id_));
  return {.rank = static_cast<size_t>(before), .schedulers = schedulers_.size() + 1};
}

Scheduler::Traffic* Scheduler::traffic(const std::string& model) {
  const auto found = traffic_.find(model);
  if (found != traffic_.end()) return &found->second;
  if (traffic_.size() >= kModelsMax || !replicas().knows_model(model)) return nullptr;
  return &traffic_[model];
}

}  // namespace bellwether::scheduler
