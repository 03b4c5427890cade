#include "worker/replica.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <utility>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "mesh/log.h"
#include "mesh/subjects.h"
#include "worker/admission.h"
#include "worker/token_event.h"

namespace bellwether::worker {
namespace asio = boost::asio;
namespace log = mesh::log;
namespace subjects = mesh::subjects;
namespace {

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

Identity identity_of(const mesh::Service& service, const WorkerSettings& settings) {
  const uint64_t now = mesh::unix_ms_now();
  return {.replica_id = settings.replica_id,
          .epoch = now,  // grows with every start, also under a fixed --replica-id
          .model = settings.served_model_name,
          .device = settings.device,
          .host = host_name(),
          .metrics_address = service.http_address(),
          .started_unix_ms = now};
}

double seconds_between(mesh::TimePoint from, mesh::TimePoint to) {
  return std::chrono::duration<double>(to - from).count();
}

int64_t tokens_to_prefill(const LiveRequest& request) {
  return request.prompt_tokens + request.output_tokens_given;
}

FinishedReason reason_of(engine::Finish finish) {
  return finish == engine::Finish::kStop ? FinishedReason::kStop : FinishedReason::kLength;
}

}  // namespace

Replica::Replica(mesh::Service& service, const WorkerSettings& settings)
    : service_(service),
      settings_(resolve(settings)),
      identity_(identity_of(service, settings_)),
      announcement_timer_(service.io()),
      drained_timer_(service.io()),
      engine_(
          service.io().get_executor(),
          [resolved = settings_](const auto& progress) { return load_model(resolved, progress); },
          {.on_progress = [this](double done) { on_progress(done); },
           .on_loaded = [this](ModelFacts facts, v1::ModelCard card) { on_loaded(std::move(facts), std::move(card)); },
           .on_report = [this](const EngineReport& report) { on_report(report); },
           .on_failed = [this](const std::string& reason) { on_failed(reason); }}) {
  log::info("loading the model", {{"model", identity_.model},
                                  {"folder", settings_.model},
                                  {"replica_id", identity_.replica_id},
                                  {"load_format", settings_.load_format}});
  announce();
}

Replica::~Replica() = default;

void Replica::on_progress(double done) {
  const auto tenth = [](double part) { return static_cast<int>(part * 10); };
  if (tenth(done) > tenth(condition_.loading_progress)) {
    log::info("loading", {{"model", identity_.model}, {"percent", tenth(done) * 10}});
  }
  condition_.loading_progress = done;
  announcements_.changed();
  arm_announcement();
}

void Replica::on_loaded(ModelFacts facts, v1::ModelCard card) {
  if (stopped_ || condition_.phase != v1::REPLICA_PHASE_LOADING) return;
  facts_ = std::move(facts);
  card_ = serialize_card(std::move(card));
  metrics_.emplace(service_.registry(), identity_.model, facts_.context_tokens_max);
  condition_.capacity = capacity_of(facts_);
  condition_.card_digest = card_.digest;
  condition_.loading_progress = 1;
  mesh::Bus& bus = service_.bus();
  work_ = bus.subscribe<v1::GenerateRequest>(
      subjects::replica_work(identity_.replica_id),
      [this](const v1::GenerateRequest& request, const mesh::BusMessage& message) { on_work(request, message); });
  cancels_ = bus.subscribe<v1::CancelRequest>(
      subjects::replica_cancel(identity_.replica_id),
      [this](const v1::CancelRequest& cancel, const mesh::BusMessage&) { on_cancel(cancel); });
  card_requests_ = bus.subscribe<v1::CardRequest>(
      subjects::card(identity_.model),
      [this](const v1::CardRequest& request, const mesh::BusMessage& message) { on_card_request(request, message); },
      subjects::kCardQueue);
  log::info("model loaded", {{"model", identity_.model},
                             {"replica_id", identity_.replica_id},
                             {"took_ms", mesh::unix_ms_now() - identity_.started_unix_ms},
                             {"kv_blocks", facts_.kv_blocks_total},
                             {"context_tokens_max", facts_.context_tokens_max},
                             {"sequences_max", facts_.sequences_max}});
  service_.set_ready(true);
  set_phase(v1::REPLICA_PHASE_READY);
}

void Replica::on_failed(const std::string& reason) {
  if (stopped_) return;
  log::error("the engine failed", {{"model", identity_.model}, {"reason", reason}});
  condition_.failure = reason;
  service_.set_ready(false);
  end_all_with_error("the replica failed: " + reason);
  set_phase(v1::REPLICA_PHASE_FAILED);
  // Nothing here can make the engine whole again; whoever supervises this process starts it anew.
  service_.shut_down(1);
}

void Replica::on_work(const v1::GenerateRequest& request, const mesh::BusMessage& message) {
  const v1::GenerateReply reply = take(request);
  if (reply.has_refused()) {
    const std::string_view id = std::string_view(request.request_id()).substr(0, kIdBytesMax);  // it may be anything
    log::info("refused", {{"request_id", id}, {"reason", reply.refused().message()}});
  }
  publishing("answer", [&] { service_.bus().respond(message, reply); });
}

v1::GenerateReply Replica::take(const v1::GenerateRequest& request) {
  v1::GenerateReply reply;
  const Acquaintance acquaintance = requests_.compare(request.request_id(), request.attempt());
  if (acquaintance == Acquaintance::kSame) return placed();
  if (acquaintance == Acquaintance::kOutdated) {
    reply.mutable_refused()->set_code(v1::REFUSAL_CODE_INVALID);
    reply.mutable_refused()->set_message("attempt is older than one that this replica has already taken");
    return reply;
  }
  LiveRequest* older = requests_.find(request.request_id());
  const AdmissionFacts facts{.model = identity_.model,
                             .phase = condition_.phase,
                             .limits = facts_,
                             .requests_live = static_cast<int64_t>(requests_.size()) - (older != nullptr ? 1 : 0),
                             .now_unix_ms = mesh::unix_ms_now()};
  if (auto refused = refuse(facts, request)) {
    *reply.mutable_refused() = *std::move(refused);
    return reply;
  }
  if (older != nullptr) cancel(*older);
  const LiveRequest& live = requests_.add(request, ++sequence_last_, mesh::steady_now());
  tokens_outside_engine_ += tokens_to_prefill(live);
  engine_.admit(sequence_of(request, live.sequence, facts_));
  update_load();
  log::debug("placed",
             {{"request_id", live.request_id}, {"attempt", live.attempt}, {"prompt_tokens", live.prompt_tokens}});
  return placed();
}

v1::GenerateReply Replica::placed() const {
  v1::GenerateReply reply;
  reply.mutable_placed()->set_replica_id(identity_.replica_id);
  reply.mutable_placed()->set_epoch(identity_.epoch);
  return reply;
}

void Replica::on_cancel(const v1::CancelRequest& request) {
  LiveRequest* live = requests_.find(request.request_id());
  if (live == nullptr || live->attempt > request.attempt()) return;
  cancel(*live);
}

void Replica::cancel(LiveRequest& request) {
  requests_.mark_cancelled(request);
  engine_.cancel(request.sequence);
}

void Replica::on_card_request(const v1::CardRequest& request, const mesh::BusMessage& message) {
  publishing("card", [&] { service_.bus().respond(message, card_chunk(card_, request)); });
}

void Replica::on_report(const EngineReport& report) {
  for (const engine::SequenceId sequence : report.admitted) {
    LiveRequest* request = requests_.find(sequence);
    if (request == nullptr) continue;
    request->in_engine = true;
    tokens_outside_engine_ -= tokens_to_prefill(*request);
  }
  for (const EngineReport::Rejection& rejection : report.rejected) {
    if (LiveRequest* request = requests_.find(rejection.sequence)) end_with_error(*request, rejection.reason);
  }
  for (const engine::SequenceOutput& output : report.step.outputs) on_output(output, report.ended);
  for (const engine::SequenceId sequence : report.cancelled) {
    if (LiveRequest* request = requests_.find(sequence)) release(*request, FinishedReason::kAbort);
  }
  send_batches();
  if (report.stepped) {
    ++condition_.steps;
    rates_.add(report.ended, report.step.prefill_tokens, report.step.decode_tokens);
    metrics_->count_step(report.step.prefill_tokens + report.step.decode_tokens);
  }
  engine_load_ = report.load;
  update_load();
}

void Replica::on_output(const engine::SequenceOutput& output, mesh::TimePoint ended) {
  LiveRequest* request = requests_.find(output.id);
  if (request == nullptr) return;
  measure(*request, output, ended);
  const bool finished = output.finish != engine::Finish::kNone;
  if (!request->cancelled) {
    if (!output.ids.empty() || finished) {
      *batches_[request->gateway_id].add_events() = token_event(*request, output);
    }
    if (output.prefill_done && !finished) tell_schedulers(v1::Dispatch::PREFILL_DONE, *request);
  }
  if (finished) release(*request, request->cancelled ? FinishedReason::kAbort : reason_of(output.finish));
}

void Replica::measure(LiveRequest& request, const engine::SequenceOutput& output, mesh::TimePoint ended) {
  const auto tokens = static_cast<int64_t>(output.ids.size());
  if (output.prefill_done) metrics_->count_prompt(request.prompt_tokens);
  if (tokens > 0) {
    metrics_->count_generated(tokens);
    if (request.token_seen) {
      metrics_->observe_tokens_after(seconds_between(request.token_last, ended), tokens);
    } else {
      metrics_->observe_first_token(seconds_between(request.arrived, ended));
    }
    request.token_seen = true;
    request.token_last = ended;
    request.output_tokens += tokens;
  }
  if (output.finish != engine::Finish::kNone && !request.cancelled) {
    metrics_->observe_finished(seconds_between(request.arrived, ended), request.prompt_tokens,
                               request.output_tokens - request.output_tokens_given);
  }
}

void Replica::end_with_error(LiveRequest& request, const std::string& message) {
  if (!request.cancelled) *batches_[request.gateway_id].add_events() = error_event(request, message);
  release(request, request.cancelled ? FinishedReason::kAbort : FinishedReason::kError);
}

void Replica::end_all_with_error(const std::string& message) {
  for (const engine::SequenceId sequence : requests_.sequences()) end_with_error(*requests_.find(sequence), message);
  send_batches();
  engine_load_ = {};
  update_load();
}

void Replica::send_batches() {
  for (auto& [gateway_id, batch] : batches_) {
    batch.set_replica_id(identity_.replica_id);
    batch.set_epoch(identity_.epoch);
    publishing("tokens", [&] { service_.bus().publish(subjects::gateway_tokens(gateway_id), batch); });
  }
  batches_.clear();
}

void Replica::release(LiveRequest& request, FinishedReason reason) {
  if (!request.in_engine) tokens_outside_engine_ -= tokens_to_prefill(request);
  metrics_->count_finished(reason);
  tell_schedulers(v1::Dispatch::FREE, request);
  log::info("done", {{"request_id", request.request_id},
                     {"attempt", request.attempt},
                     {"reason", name_of(reason)},
                     {"prompt_tokens", request.prompt_tokens},
                     {"completion_tokens", request.output_tokens},
                     {"took_ms", seconds_between(request.arrived, mesh::steady_now()) * 1000}});
  requests_.remove(request.sequence);
  if (requests_.empty()) drained_timer_.cancel();
}

void Replica::tell_schedulers(v1::Dispatch::Kind kind, const LiveRequest& request) {
  v1::Dispatch dispatch;
  dispatch.set_kind(kind);
  dispatch.set_request_id(request.request_id);
  dispatch.set_attempt(request.attempt);
  dispatch.set_replica_id(identity_.replica_id);
  dispatch.set_epoch(identity_.epoch);
  dispatch.set_model(identity_.model);
  publishing("dispatch", [&] { service_.bus().publish(subjects::kDispatch, dispatch, mesh::Urgency::kBatched); });
}

void Replica::set_phase(v1::ReplicaPhase phase) {
  condition_.phase = phase;
  announcements_.changed_phase();
  announce();
}

void Replica::update_load() {
  const auto live = static_cast<int64_t>(requests_.size());
  const int64_t running = std::min<int64_t>(engine_load_.running, live);
  v1::Load load;
  load.set_running(static_cast<uint32_t>(running));
  load.set_waiting(static_cast<uint32_t>(live - running));
  load.set_kv_blocks_used(static_cast<uint32_t>(engine_load_.kv_blocks_used));
  load.set_tokens_pending(static_cast<uint64_t>(engine_load_.tokens_pending + tokens_outside_engine_));
  if (metrics_) {
    const double usage = static_cast<double>(engine_load_.kv_blocks_used) / static_cast<double>(facts_.kv_blocks_total);
    metrics_->set_load(running, live - running, usage);
  }
  const bool same = load.SerializeAsString() == condition_.load.SerializeAsString();
  condition_.load = std::move(load);
  if (same) return;
  announcements_.changed();
  arm_announcement();
}

void Replica::announce() {
  const mesh::TimePoint now = mesh::steady_now();
  const v1::ReplicaState state = make_state(identity_, condition_, rates_.now(now), ++states_announced_);
  publishing("state", [&] { service_.bus().publish(subjects::replica_state(identity_.replica_id), state); });
  announcements_.announced(now);
  arm_announcement();
}

void Replica::arm_announcement() {
  if (stopped_) return;
  announcement_timer_.expires_at(announcements_.due());
  announcement_timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (error || alive.expired() || mesh::steady_now() < announcements_.due()) return;
    announce();
  });
}

asio::awaitable<void> Replica::stop() {
  if (stopped_) co_return;
  service_.set_ready(false);
  const bool failed = condition_.phase == v1::REPLICA_PHASE_FAILED;
  if (!failed) {
    log::info("draining", {{"requests", requests_.size()}, {"grace_ms", service_.shutdown_grace().count()}});
    set_phase(v1::REPLICA_PHASE_DRAINING);
  }
  if (!requests_.empty()) {
    drained_timer_.expires_after(service_.shutdown_grace());
    boost::system::error_code drained;
    co_await drained_timer_.async_wait(asio::redirect_error(asio::use_awaitable, drained));
  }
  if (!requests_.empty()) {
    log::warning("the grace is over", {{"requests", requests_.size()}});
    end_all_with_error("the replica is shutting down and could not finish this request in time");
  }
  co_await engine_.stop();
  if (condition_.phase == v1::REPLICA_PHASE_DRAINING) set_phase(v1::REPLICA_PHASE_STOPPED);
  stopped_ = true;
  announcement_timer_.cancel();
  work_.reset();
  cancels_.reset();
  card_requests_.reset();
}

template <class Publish>
void Replica::publishing(std::string_view what, Publish publish) {
  try {
    publish();
  } catch (const mesh::Error& error) {
    if (metrics_) metrics_->count_publish_failure();
    log::warning("the bus does not take a message", {{"what", what}, {"error", std::string_view(error.what())}});
  }
}

}  // namespace bellwether::worker
