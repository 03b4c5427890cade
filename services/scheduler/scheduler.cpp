#include "scheduler/scheduler.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <exception>
#include <random>
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
constexpr int kAvoidedMax = 16;                       // replicas that a request says
constexpr std::chrono::milliseconds kDumpWait{2000};  // for a piece of a dump
constexpr const char* kModelStrategies = "model-strategies";

v1::GenerateReply refused(v1::RefusalCode code, std::string message, uint32_t retry_after_ms) {
  v1::GenerateReply reply;
  reply.mutable_refused()->set_code(code);
  reply.mutable_refused()->set_message(std::move(message));
  reply.mutable_refused()->set_retry_after_ms(retry_after_ms);
  return reply;
}

const char* outcome_name(const v1::GenerateReply& reply) {
  if (reply.has_placed()) return "placed";
  switch (reply.refused().code()) {
    case v1::REFUSAL_CODE_NO_REPLICA:
      return "no_replica";
    case v1::REFUSAL_CODE_OVERLOADED:
      return "overloaded";
    default:
      return "invalid";
  }
}

std::map<std::string, Strategy> parse_model_strategies(const std::vector<std::string>& settings) {
  std::map<std::string, Strategy> strategies;
  for (const std::string& each : settings) {
    const size_t equals = each.rfind('=');
    const auto strategy = equals == std::string::npos ? std::nullopt : find_strategy(each.substr(equals + 1));
    if (!strategy || equals == 0) {
      throw mesh::Error(mesh::ErrorCode::kInvalidArgument,
                        fmt::format("--{}: '{}' is not MODEL=STRATEGY with one of {}", kModelStrategies, each,
                                    fmt::join(strategy_names(), ", ")),
                        kModelStrategies);
    }
    strategies[each.substr(0, equals)] = *strategy;
  }
  return strategies;
}

PlacerOptions placer_options(const std::string& scheduler_id, const SchedulerSettings& settings) {
  return {.scheduler_id = scheduler_id,
          .kv_index_blocks_max = static_cast<size_t>(settings.kv_index_blocks_max),
          .slow_start = std::chrono::milliseconds(settings.slow_start_ms),
          .random_seed = std::random_device()()};
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

void declare(mesh::Settings& declared, SchedulerSettings& settings) {
  declared.add("work-timeout-ms", &settings.work_timeout_ms,
               {.sentence = "How long a head may take to accept or refuse a request before the next one is tried",
                .unit = "ms",
                .min = 1,
                .max = 60000});
  declared.add("strategy", &settings.strategy,
               {.sentence = "How a head is chosen for requests that do not say it", .choices = strategy_names()});
  declared.add(kModelStrategies, &settings.model_strategies,
               {.sentence = "MODEL=STRATEGY, for models that have another one"});
  declared.add("kv-index-blocks-max", &settings.kv_index_blocks_max,
               {.sentence = "Blocks of the heads' caches that are kept in mind, each in 22 to 43 bytes",
                .unit = "blocks",
                .min = 1,
                .max = 1 << 28});
  declared.add("slow-start-ms", &settings.slow_start_ms,
               {.sentence = "A replica that has just become ready gets its full share of requests after so long",
                .unit = "ms",
                .min = 0,
                .max = 3600000});
}

Scheduler::Scheduler(asio::io_context& io, mesh::Bus& bus, prometheus::Registry& registry, SchedulerSettings settings,
                     std::function<void()> on_ready)
    : io_(io),
      bus_(bus),
      settings_(std::move(settings)),
      model_strategies_(parse_model_strategies(settings_.model_strategies)),
      on_ready_(std::move(on_ready)),
      id_(mesh::random_id("scheduler")),
      placer_(placer_options(id_, settings_), mesh::steady_now),
      metrics_(registry),
      listen_timer_(io),
      maintain_timer_(io),
      all_tasks_done_(io) {
  states_ = bus_.subscribe<v1::ReplicaState>(
      subjects::kAllReplicaStates, [this](const v1::ReplicaState& state, const mesh::BusMessage&) { on_state(state); });
  dispatches_ = bus_.subscribe<v1::Dispatch>(
      subjects::kDispatch, [this](const v1::Dispatch& event, const mesh::BusMessage&) { on_dispatch(event); });
  kv_events_ = bus_.subscribe<v1::KvEvents>(
      subjects::kAllKvEvents, [this](const v1::KvEvents& events, const mesh::BusMessage&) { on_kv_events(events); });
  listen_timer_.expires_after(kListenFirst);
  listen_timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (error || alive.expired()) return;
    ++tasks_;
    asio::co_spawn(io_, listen_to_requests(), asio::detached);
  });
  maintain();
}

Scheduler::~Scheduler() = default;

asio::awaitable<void> Scheduler::stop() {
  stopping_ = true;
  requests_.reset();
  listen_timer_.cancel();
  while (tasks_ > 0) {
    all_tasks_done_.expires_at(asio::steady_timer::time_point::max());
    boost::system::error_code cancelled;
    co_await all_tasks_done_.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  }
  maintain_timer_.cancel();
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
  for (const std::string& id : placer_.maintain()) log::warning("replica not heard in time", {{"replica_id", id}});
  std::erase_if(schedulers_, [&](const auto& entry) { return now - entry.second > kSchedulerForgottenAfter; });
  std::erase_if(traffic_, [&](const auto& entry) { return !replicas().knows_model(entry.first); });
  metrics_.update(replicas(), kv());
  fetch_dumps();
  maintain_timer_.expires_after(kMaintainEvery);
  maintain_timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (!error && !alive.expired()) maintain();
  });
}

void Scheduler::on_state(const v1::ReplicaState& state) {
  switch (placer_.apply(state)) {
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
  if (Traffic* measured = traffic(event.model())) measured->frees.record(mesh::steady_now());
}

void Scheduler::on_kv_events(const v1::KvEvents& events) {
  placer_.apply(events);
}

void Scheduler::fetch_dumps() {
  if (stopping_) return;
  for (const std::string& id : kv().wants_dump()) {
    if (!dumping_.insert(id).second) continue;
    ++tasks_;
    asio::co_spawn(io_, fetch_dump(id), asio::detached);
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
  ++tasks_;
  asio::co_spawn(io_, answer(request, message), asio::detached);
}

asio::awaitable<void> Scheduler::answer(v1::GenerateRequest request, mesh::BusMessage message) {
  const mesh::TimePoint arrived = mesh::steady_now();
  try {
    const v1::GenerateReply reply = co_await place(request);
    const auto took = mesh::steady_now() - arrived;
    metrics_.count_request(request.model(), replicas().knows_model(request.model()), outcome_name(reply));
    metrics_.observe_placement(took);
    log::info(reply.has_placed() ? "placed" : "refused",
              {{"request_id", request.request_id()},
               {"attempt", request.attempt()},
               {"model", request.model()},
               {"replica_id", reply.placed().replica_id()},
               {"reason", reply.refused().message()},
               {"retry_after_ms", reply.refused().retry_after_ms()},
               {"took_ms", std::chrono::duration<double, std::milli>(took).count()}});
    bus_.respond(message, reply);
  } catch (const std::exception& error) {
    // The gateway hears nothing and tries again or gives up, as if this scheduler had died.
    log::error("request not answered", {{"request_id", request.request_id()}, {"error", error.what()}});
  }
  finish_task();
}

void Scheduler::finish_task() {
  if (--tasks_ == 0) all_tasks_done_.cancel();
}

asio::awaitable<v1::GenerateReply> Scheduler::place(const v1::GenerateRequest& request) {
  if (request.request_id().empty() || request.request_id().size() > kNameBytesMax) {
    co_return refused(v1::REFUSAL_CODE_INVALID, fmt::format("request_id must have 1 to {} bytes", kNameBytesMax), 0);
  }
  const std::optional<Strategy> strategy = strategy_of(request);
  if (!strategy) {
    co_return refused(
        v1::REFUSAL_CODE_INVALID,
        fmt::format("routing-strategy '{}' is unknown; there are {}",
                    request.routing_strategy().substr(0, kNameBytesMax), fmt::join(strategy_names(), ", ")),
        0);
  }
  const Candidate candidate = candidate_of(request);
  bool full = false;
  std::vector<std::string> tried;
  while (tried.size() < kHeadsTriedMax) {
    std::optional<PlacedOn> head = reserve(candidate, *strategy, with(tried, request.avoid_replicas()));
    if (!head && !request.avoid_replicas().empty()) head = reserve(candidate, *strategy, tried);
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
  co_return refuse(request, full);
}

std::optional<Strategy> Scheduler::strategy_of(const v1::GenerateRequest& request) const {
  if (!request.routing_strategy().empty()) return find_strategy(request.routing_strategy());
  const auto of_model = model_strategies_.find(request.model());
  return of_model == model_strategies_.end() ? find_strategy(settings_.strategy) : of_model->second;
}

std::optional<PlacedOn> Scheduler::reserve(const Candidate& candidate, Strategy strategy,
                                           const std::vector<std::string>& tried) {
  std::optional<PlacedOn> head = placer_.place(candidate, strategy, tie_order(), tried);
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

v1::GenerateReply Scheduler::refuse(const v1::GenerateRequest& request, bool full) {
  if (!full) {
    return refused(v1::REFUSAL_CODE_NO_REPLICA, fmt::format("No replica of model '{}' is ready.", request.model()),
                   kNoReplicaRetryAfterMs);
  }
  const mesh::TimePoint now = mesh::steady_now();
  double frees_per_s = 0;
  uint64_t refused_before = 0;
  if (Traffic* measured = traffic(request.model())) {
    frees_per_s = static_cast<double>(measured->frees.count(now, RecentCount::kSpan - 1)) / RecentCount::kSpan;
    refused_before = measured->refusals.count(now, 1);
    measured->refusals.record(now);
  }
  return refused(v1::REFUSAL_CODE_OVERLOADED, fmt::format("Every replica of model '{}' is full.", request.model()),
                 overloaded_retry_after_ms(frees_per_s, refused_before));
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
