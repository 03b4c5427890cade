#include "worker/replica.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "mesh/log.h"
#include "mesh/subjects.h"
#include "worker/admission.h"
#include "worker/group_options.h"
#include "worker/host_name.h"
#include "worker/token_event.h"
#include "worker/ucx_rank_endpoint.h"

namespace bellwether::worker {
namespace asio = boost::asio;
namespace log = mesh::log;
namespace subjects = mesh::subjects;
namespace {

constexpr size_t kKvDumpsWantedMax = 64;  // at once; all of them get the same

Identity identity_of(const mesh::Service& service, const WorkerSettings& settings) {
  const uint64_t now = mesh::unix_ms_now();
  return {.replica_id = settings.replica_id,
          .epoch = now,  // grows with every start, also under a fixed --replica-id
          .model = settings.served_model_name,
          .device = is_echo(settings) ? settings.engine : settings.device,
          .host = host_name(),
          .metrics_address = service.http_address(),
          .started_unix_ms = now};
}

RankGroupOptions group_of(const WorkerSettings& settings) {
  return {.ranks = static_cast<int>(settings.ranks),
          .version = BELLWETHER_VERSION,
          .config_digest = config_digest(settings.model),
          .synthetic_weights = settings.load_format == "synthetic",
          .stall_limit = std::chrono::milliseconds(settings.rank_stall_ms)};
}

double seconds_between(mesh::TimePoint from, mesh::TimePoint to) {
  return std::chrono::duration<double>(to - from).count();
}

int64_t tokens_to_prefill(const LiveRequest& request, const LiveChoice& choice) {
  return request.prompt_tokens + choice.output_tokens_given;
}

FinishedReason reason_of(engine::Finish finish) {
  return finish == engine::Finish::kStop ? FinishedReason::kStop : FinishedReason::kLength;
}

}  // namespace

Replica::Replica(mesh::Service& service, const WorkerSettings& settings)
    : service_(service),
      settings_(resolve(settings)),
      identity_(identity_of(service, settings_)),
      kv_journal_(identity_.replica_id),
      announcement_timer_(service.io()),
      drain_limit_(service.shutdown_grace()),
      drained_timer_(service.io()),
      engine_(
          service.io().get_executor(),
          [resolved = settings_](const auto& progress) { return load_model(resolved, progress); },
          {.on_progress = [this](double done) { on_progress(done); },
           .on_loaded =
               [this](ModelFacts facts, v1::ModelCard card, EngineHandlers::Vocabulary vocabulary) {
                 on_loaded(std::move(facts), std::move(card), std::move(vocabulary));
               },
           .on_report = [this](const EngineReport& report) { on_report(report); },
           .on_failed = [this](const std::string& reason) { on_failed(reason); },
           .on_reachable = [this](std::string address) { leader_->head_reachable(std::move(address)); },
           .on_joined = [this](uint64_t epoch, ModelFacts facts) { on_joined(epoch, std::move(facts)); },
           .on_left = [this](uint64_t epoch, const std::string& reason) { leader_->head_left(epoch, reason); }},
          settings_.ranks > 1 ? OpenEndpoint(&open_ucx_endpoint) : OpenEndpoint()) {
  if (settings_.ranks > 1) {
    leader_.emplace(service.io(), group_of(settings_), group_options_of(engine_options(settings_)), identity_.epoch,
                    GroupHandlers{.on_start =
                                      [this](uint64_t epoch, std::vector<std::string> addresses) {
                                        on_group_start(epoch, std::move(addresses));
                                      },
                                  .on_running = [this] { become_ready(); },
                                  .on_broken = [this](const std::string& reason) { on_group_broken(reason); },
                                  .on_changed = [this] { on_group_changed(); }});
    service.add_grpc_service(leader_->grpc_service());
  }
  log::info("loading the model", {{"model", identity_.model},
                                  {"folder", settings_.model},
                                  {"replica_id", identity_.replica_id},
                                  {"engine", settings_.engine},
                                  {"load_format", settings_.load_format}});
  announce();
}

Replica::~Replica() = default;

void Replica::on_progress(double done) {
  const auto tenth = [](double part) { return static_cast<int>(part * 10); };
  if (tenth(done) > tenth(own_progress_)) {
    log::info("loading", {{"model", identity_.model}, {"percent", tenth(done) * 10}});
  }
  own_progress_ = done;
  on_group_changed();
}

void Replica::on_group_changed() {
  const bool all_joined = !leader_ || leader_->group().all_joined();
  condition_.loading_progress = leader_ ? std::min(own_progress_, leader_->group().loading_progress()) : own_progress_;
  if (condition_.phase == v1::REPLICA_PHASE_FAILED && all_joined) {
    condition_.failure.clear();
    set_phase(v1::REPLICA_PHASE_LOADING);
  }
  announcements_.changed();
  arm_announcement();
}

void Replica::on_group_start(uint64_t epoch, std::vector<std::string> addresses) {
  identity_.epoch = epoch;
  condition_.steps = 0;
  engine_.join({.epoch = epoch,
                .rank = 0,
                .addresses = std::move(addresses),
                .stall_limit = std::chrono::milliseconds(settings_.rank_stall_ms)});
}

void Replica::on_group_broken(const std::string& reason) {
  engine_.leave(identity_.epoch);
  lose_all("the replica lost one of its ranks: " + reason);
  if (stopped_ || condition_.phase == v1::REPLICA_PHASE_DRAINING) return;
  condition_.failure = reason;
  service_.set_ready(false, reason);
  set_phase(v1::REPLICA_PHASE_FAILED);
}

void Replica::on_loaded(ModelFacts facts, v1::ModelCard card, EngineHandlers::Vocabulary vocabulary) {
  if (stopped_ || condition_.phase != v1::REPLICA_PHASE_LOADING) return;
  learn(std::move(facts));
  constraints_.emplace(std::move(vocabulary), facts_.eos_ids);
  card_ = serialize_card(std::move(card));
  step_costs_.emplace(facts_.sequences_max);
  metrics_.emplace(service_.registry(), identity_.model, facts_.context_tokens_max);
  condition_.card_digest = card_.digest;
  own_progress_ = 1;
  mesh::Bus& bus = service_.bus();
  work_ = bus.subscribe<v1::GenerateRequest>(
      subjects::replica_work(identity_.replica_id),
      [this](const v1::GenerateRequest& request, const mesh::BusMessage& message) { on_work(request, message); });
  cancels_ = bus.subscribe<v1::CancelRequest>(
      subjects::replica_cancel(identity_.replica_id),
      [this](const v1::CancelRequest& cancel, const mesh::BusMessage&) { on_cancel(cancel); });
  resends_ = bus.subscribe<v1::ResendRequest>(
      subjects::replica_resend(identity_.replica_id),
      [this](const v1::ResendRequest& request, const mesh::BusMessage&) { on_resend(request); });
  drains_ = bus.subscribe<v1::DrainRequest>(
      subjects::replica_drain(identity_.replica_id),
      [this](const v1::DrainRequest& request, const mesh::BusMessage& message) { on_drain(request, message); });
  card_requests_ = bus.subscribe<v1::CardRequest>(
      subjects::card(identity_.model),
      [this](const v1::CardRequest& request, const mesh::BusMessage& message) { on_card_request(request, message); },
      subjects::kCardQueue);
  kv_dump_requests_ =
      bus.subscribe<v1::KvDumpRequest>(subjects::replica_kv_dump(identity_.replica_id),
                                       [this](const v1::KvDumpRequest& request, const mesh::BusMessage& message) {
                                         on_kv_dump_request(request, message);
                                       });
  log::info("model loaded", {{"model", identity_.model},
                             {"replica_id", identity_.replica_id},
                             {"took_ms", mesh::unix_ms_now() - identity_.started_unix_ms},
                             {"kv_blocks", facts_.kv_blocks_total},
                             {"context_tokens_max", facts_.context_tokens_max},
                             {"sequences_max", facts_.sequences_max}});
  if (facts_.gpu_memory) {
    const auto gb = [](int64_t bytes) { return static_cast<double>(bytes) / 1e9; };
    log::info("GPU memory", {{"device", identity_.device},
                             {"total_gb", gb(facts_.gpu_memory->total)},
                             {"weights_gb", gb(facts_.gpu_memory->weights)},
                             {"workspace_gb", gb(facts_.gpu_memory->workspace)},
                             {"kv_cache_gb", gb(facts_.gpu_memory->kv_cache)}});
  }
  if (!leader_) become_ready();
}

void Replica::learn(ModelFacts facts) {
  facts_ = std::move(facts);
  condition_.capacity = capacity_of(facts_);
}

void Replica::on_joined(uint64_t epoch, ModelFacts facts) {
  learn(std::move(facts));
  log::info("the ranks have joined", {{"epoch", epoch}, {"kv_blocks", facts_.kv_blocks_total}});
  leader_->head_running(epoch);
}

void Replica::become_ready() {
  if (stopped_ || condition_.phase != v1::REPLICA_PHASE_LOADING) return;
  condition_.loading_progress = 1;
  service_.set_ready(true);
  set_phase(v1::REPLICA_PHASE_READY);
}

void Replica::on_failed(const std::string& reason) {
  if (stopped_) return;
  log::error("the engine failed", {{"model", identity_.model}, {"reason", reason}});
  condition_.failure = reason;
  service_.set_ready(false, reason);
  lose_all("the replica failed: " + reason);
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
  const size_t replaced = older == nullptr ? 0 : older->choices.size();
  const AdmissionFacts facts{.model = identity_.model,
                             .phase = condition_.phase,
                             .limits = facts_,
                             .sequences_live = static_cast<int64_t>(requests_.sequence_count() - replaced),
                             .now_unix_ms = mesh::unix_ms_now()};
  if (auto refused = refuse(facts, request)) {
    *reply.mutable_refused() = *std::move(refused);
    return reply;
  }
  std::vector<engine::SequenceRequest> admitted;
  try {
    admitted = sequences(request);
  } catch (const text::grammar::GrammarError& error) {
    reply.mutable_refused()->set_code(v1::REFUSAL_CODE_INVALID);
    reply.mutable_refused()->set_message(error.what());
    return reply;
  }
  if (older != nullptr) cancel(*older);
  LiveRequest& live = requests_.add(request, sequence_last_ + 1, mesh::steady_now());
  live.span = service_.tracer().continue_trace("generate", mesh::SpanKind::kServer, request.traceparent());
  for (engine::SequenceRequest& sequence : admitted) {
    sequence_last_ = sequence.id;
    engine_.admit(std::move(sequence));
  }
  for (const LiveChoice& choice : live.choices) tokens_outside_engine_ += tokens_to_prefill(live, choice);
  update_load();
  log::debug("placed", {{"request_id", live.request_id},
                        {"attempt", live.attempt},
                        {"prompt_tokens", live.prompt_tokens},
                        {"choices", live.choices.size()}});
  return placed();
}

// Throws GrammarError.
std::vector<engine::SequenceRequest> Replica::sequences(const v1::GenerateRequest& request) {
  std::vector<engine::SequenceRequest> sequences = sequences_of(request, sequence_last_ + 1, facts_);
  if (!request.has_constraint()) return sequences;
  const auto masks = constraints_->masks_of(request.constraint());
  for (engine::SequenceRequest& sequence : sequences) {
    sequence.constraint = constraints_->make(request.constraint(), masks, sequence.stop_ids);
  }
  return sequences;
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
  if (request.choices().empty()) return cancel(*live);
  for (LiveChoice& choice : live->choices) {
    if (std::find(request.choices().begin(), request.choices().end(), choice.index) != request.choices().end()) {
      cancel(choice);
    }
  }
}

void Replica::cancel(LiveRequest& request) {
  for (LiveChoice& choice : request.choices) cancel(choice);
  requests_.mark_cancelled(request);
}

void Replica::cancel(LiveChoice& choice) {
  if (choice.cancelled) return;
  choice.cancelled = true;
  engine_.cancel(choice.sequence);
}

void Replica::on_resend(const v1::ResendRequest& request) {
  if (request.from_size() > kChoicesMax) return;
  v1::TokenBatch batch;
  batch.set_replica_id(identity_.replica_id);
  batch.set_epoch(identity_.epoch);
  for (const v1::ResendRequest::From& from : request.from()) send_again(request, from, batch);
  if (batch.events().empty()) return;
  log::info("sent again", {{"request_id", std::string_view(request.request_id()).substr(0, kIdBytesMax)},
                           {"attempt", request.attempt()},
                           {"events", batch.events_size()}});
  publishing("tokens", [&] { service_.bus().publish(subjects::gateway_tokens(request.gateway_id()), batch); });
}

void Replica::send_again(const v1::ResendRequest& request, const v1::ResendRequest::From& from, v1::TokenBatch& batch) {
  const TokenHistory::Found found =
      sent_.since(request.request_id(), request.attempt(), from.choice(), from.next_index());
  if (found.complete) {
    for (const v1::TokenEvent& event : found.events) *batch.add_events() = event;
    return;
  }
  const LiveRequest* live = requests_.find(request.request_id());
  if (live != nullptr && live->attempt == request.attempt()) {
    const auto choice = std::find_if(live->choices.begin(), live->choices.end(),
                                     [&](const LiveChoice& each) { return each.index == from.choice(); });
    if (choice != live->choices.end() && choice->output_tokens <= from.next_index()) return;  // all of it has come
  }
  *batch.add_events() = lost_event(request, from, "the replica no longer has what was lost on its way");
}

void Replica::on_drain(const v1::DrainRequest& request, const mesh::BusMessage& message) {
  if (request.limit_ms() > 0) drain_limit_ = std::min(drain_limit_, std::chrono::milliseconds(request.limit_ms()));
  log::info("told to drain", {{"requests", requests_.request_count()}, {"limit_ms", drain_limit_.count()}});
  v1::DrainReply reply;
  reply.set_requests(static_cast<uint32_t>(requests_.request_count()));
  reply.set_limit_ms(static_cast<uint32_t>(drain_limit_.count()));
  publishing("answer", [&] { service_.bus().respond(message, reply); });
  service_.shut_down();
}

void Replica::on_card_request(const v1::CardRequest& request, const mesh::BusMessage& message) {
  publishing("card", [&] { service_.bus().respond(message, card_chunk(card_, request)); });
}

void Replica::on_kv_dump_request(const v1::KvDumpRequest& request, const mesh::BusMessage& message) {
  const bool wants_new = request.snapshot() == 0;
  if (wants_new && kv_dumps_wanted_.size() < kKvDumpsWantedMax) {
    if (kv_dumps_wanted_.empty()) engine_.dump_kv();
    kv_dumps_wanted_.push_back(message);
    return;
  }
  publishing("cache dump",
             [&] { service_.bus().respond(message, kv_journal_.chunk(request.snapshot(), request.offset())); });
}

void Replica::on_report(const EngineReport& report) {
  const bool failed = condition_.phase == v1::REPLICA_PHASE_FAILED || condition_.phase == v1::REPLICA_PHASE_LOADING;
  if (failed) return send_kv(report);  // of a group that is no more, and whose requests have ended
  for (const engine::SequenceId sequence : report.admitted) {
    const LiveSequence admitted = requests_.find(sequence);
    if (!admitted) continue;
    admitted.choice->in_engine = true;
    tokens_outside_engine_ -= tokens_to_prefill(*admitted.request, *admitted.choice);
  }
  for (const EngineReport::Rejection& rejection : report.rejected) {
    if (const LiveSequence rejected = requests_.find(rejection.sequence)) end_with_error(rejected, rejection.reason);
  }
  for (const engine::SequenceOutput& output : report.step.outputs) on_output(output, report.ended);
  for (const engine::SequenceId sequence : report.cancelled) {
    if (const LiveSequence cancelled = requests_.find(sequence)) release(cancelled, FinishedReason::kAbort);
  }
  send_batches();
  send_kv(report);
  if (report.stepped) measure_step(report);
  engine_load_ = report.load;
  update_load();
}

void Replica::on_output(const engine::SequenceOutput& output, mesh::TimePoint ended) {
  const LiveSequence sequence = requests_.find(output.id);
  if (!sequence) return;
  auto& [request, choice] = sequence;
  measure(sequence, output, ended);
  choice->output_tokens += static_cast<int64_t>(output.ids.size());
  choice->draft_tokens += output.draft_tokens;
  choice->draft_tokens_accepted += output.draft_tokens_accepted;
  choice->prompt_logprobs_given += static_cast<int64_t>(output.prompt_logprobs.size());
  if (output.prefill_done) on_prefill_done(sequence, output);
  const bool finished = output.finish != engine::Finish::kNone;
  const bool says_something = !output.ids.empty() || !output.prompt_logprobs.empty() || finished;
  if (says_something && !choice->cancelled) {
    *batches_[request->gateway_id].add_events() = token_event(*request, *choice, output);
  }
  if (finished) release(sequence, choice->cancelled ? FinishedReason::kAbort : reason_of(output.finish));
}

void Replica::on_prefill_done(LiveSequence sequence, const engine::SequenceOutput& output) {
  if (sequence.choice->prefill_done) return;  // it lost its blocks since and was read again
  sequence.choice->prefill_done = true;
  sequence.choice->cached_prompt_tokens = output.cached_tokens;
  metrics_->count_prompt(sequence.request->prompt_tokens);
  const auto& choices = sequence.request->choices;
  const bool all = std::all_of(choices.begin(), choices.end(), [](const auto& choice) { return choice.prefill_done; });
  if (all && !sequence.request->cancelled) tell_schedulers(v1::Dispatch::PREFILL_DONE, *sequence.request);
}

void Replica::measure(LiveSequence sequence, const engine::SequenceOutput& output, mesh::TimePoint ended) {
  auto& [request, choice] = sequence;
  const auto tokens = static_cast<int64_t>(output.ids.size());
  if (tokens > 0) {
    metrics_->count_generated(tokens);
    if (choice->token_seen) {
      metrics_->observe_tokens_after(seconds_between(choice->token_last, ended), tokens);
    } else {
      metrics_->observe_first_token(seconds_between(request->arrived, ended));
      request->span.event("first token");
    }
    choice->token_seen = true;
    choice->token_last = ended;
  }
  if (output.finish != engine::Finish::kNone && !choice->cancelled) {
    metrics_->observe_finished(seconds_between(request->arrived, ended), request->prompt_tokens,
                               choice->output_tokens + tokens - choice->output_tokens_given);
  }
}

void Replica::measure_step(const EngineReport& report) {
  const engine::StepReport& step = report.step;
  ++condition_.steps;
  rates_.add(report.ended, step.prefill_tokens, step.decode_tokens);
  step_costs_->add(report.step_took.count(), step.prefill_tokens, step.decode_tokens);
  metrics_->count_step(step);
}

void Replica::end_with_error(LiveSequence sequence, const std::string& message) {
  const auto& [request, choice] = sequence;
  if (!choice->cancelled) *batches_[request->gateway_id].add_events() = error_event(*request, *choice, message);
  release(sequence, choice->cancelled ? FinishedReason::kAbort : FinishedReason::kError);
}

// Their gateways have them go on elsewhere.
void Replica::lose_all(const std::string& message) {
  for (const engine::SequenceId id : requests_.sequences()) {
    const LiveSequence sequence = requests_.find(id);
    const auto& [request, choice] = sequence;
    if (!choice->cancelled) *batches_[request->gateway_id].add_events() = lost_event(*request, *choice, message);
    release(sequence, FinishedReason::kAbort);
  }
  send_batches();
  engine_load_ = {};
  update_load();
}

void Replica::send_batches() {
  for (auto& [gateway_id, batch] : batches_) {
    batch.set_replica_id(identity_.replica_id);
    batch.set_epoch(identity_.epoch);
    for (const v1::TokenEvent& event : batch.events()) sent_.add(event);
    publishing("tokens", [&] { service_.bus().publish(subjects::gateway_tokens(gateway_id), batch); });
  }
  batches_.clear();
}

void Replica::send_kv(const EngineReport& report) {
  for (const v1::KvEvents& message : kv_journal_.tell(identity_.epoch, report.step.kv_events)) {
    publishing("cache events", [&] {
      service_.bus().publish(subjects::replica_kv_events(identity_.replica_id), message, mesh::Urgency::kBatched);
    });
  }
  if (!report.kv_dump) return;
  const v1::KvDumpChunk begin =
      kv_journal_.chunk(kv_journal_.add_snapshot(identity_.epoch, *report.kv_dump, report.ended), 0);
  for (const mesh::BusMessage& asked : std::exchange(kv_dumps_wanted_, {})) {
    publishing("cache dump", [&] { service_.bus().respond(asked, begin); });
  }
}

void Replica::release(LiveSequence sequence, FinishedReason reason) {
  const auto& [request, choice] = sequence;
  if (!choice->in_engine) tokens_outside_engine_ -= tokens_to_prefill(*request, *choice);
  metrics_->count_finished(reason);
  log::info("done", {{"request_id", request->request_id},
                     {"attempt", request->attempt},
                     {"choice", choice->index},
                     {"reason", name_of(reason)},
                     {"prompt_tokens", request->prompt_tokens},
                     {"cached_prompt_tokens", choice->cached_prompt_tokens},
                     {"completion_tokens", choice->output_tokens},
                     {"took_ms", seconds_between(request->arrived, mesh::steady_now()) * 1000}});
  request->completion_tokens += choice->output_tokens - choice->output_tokens_given;
  request->failed = request->failed || reason == FinishedReason::kError;
  if (request->choices.size() == 1) {
    describe(sequence, reason);
    tell_schedulers(v1::Dispatch::FREE, *request);
  }
  requests_.remove(choice->sequence);
  if (requests_.empty()) drained_timer_.cancel();
}

// In OpenTelemetry's names, where it has them.
void Replica::describe(LiveSequence last, FinishedReason reason) const {
  const auto& [request, choice] = last;
  mesh::Span& span = request->span;
  if (!span.recorded()) return;
  span.set("bellwether.request_id", request->request_id);
  span.set("bellwether.attempt", request->attempt);
  span.set("bellwether.replica_id", identity_.replica_id);
  span.set("gen_ai.request.model", identity_.model);
  span.set("gen_ai.usage.input_tokens", request->prompt_tokens);
  span.set("gen_ai.usage.output_tokens", request->completion_tokens);
  span.set("bellwether.cached_prompt_tokens", choice->cached_prompt_tokens);
  span.set("gen_ai.response.finish_reasons", name_of(reason));
  const bool lost = reason == FinishedReason::kAbort && !choice->cancelled;
  if (request->failed || lost) span.fail(lost ? "lost" : "error");
}

void Replica::tell_schedulers(v1::Dispatch::Kind kind, const LiveRequest& request) {
  v1::Dispatch dispatch;
  dispatch.set_kind(kind);
  dispatch.set_request_id(request.request_id);
  dispatch.set_attempt(request.attempt);
  dispatch.set_replica_id(identity_.replica_id);
  dispatch.set_epoch(identity_.epoch);
  dispatch.set_model(identity_.model);
  if (kind == v1::Dispatch::FREE) {
    dispatch.set_tenant(request.tenant);
    dispatch.set_choices(static_cast<uint32_t>(request.choices_taken));
    dispatch.set_completion_tokens(static_cast<uint32_t>(request.completion_tokens));
    dispatch.set_failed(request.failed);
  }
  publishing("dispatch", [&] { service_.bus().publish(subjects::kDispatch, dispatch, mesh::Urgency::kBatched); });
}

void Replica::set_phase(v1::ReplicaPhase phase) {
  condition_.phase = phase;
  condition_.ready_unix_ms = phase == v1::REPLICA_PHASE_READY ? mesh::unix_ms_now() : 0;
  announcements_.changed_phase();
  announce();
}

void Replica::update_load() {
  const auto live = static_cast<int64_t>(requests_.sequence_count());
  if (leader_) leader_->set_has_work(live > 0);
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

v1::Rates Replica::rates(mesh::TimePoint now) const {
  v1::Rates rates = rates_.now(now);
  if (step_costs_) {
    rates.set_prefill_tokens_per_busy_s(step_costs_->prefill_tokens_per_s());
    rates.set_decode_tokens_per_busy_s(step_costs_->decode_tokens_per_s());
  }
  return rates;
}

void Replica::announce() {
  const mesh::TimePoint now = mesh::steady_now();
  if (leader_) condition_.followers = leader_->group().health();
  kv_journal_.drop_old_snapshots(now);
  const v1::ReplicaState state = make_state(identity_, condition_, rates(now), ++states_announced_);
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
    log::info("draining", {{"requests", requests_.request_count()}, {"limit_ms", drain_limit_.count()}});
    set_phase(v1::REPLICA_PHASE_DRAINING);
  }
  if (!requests_.empty()) {
    drained_timer_.expires_after(drain_limit_);
    boost::system::error_code drained;
    co_await drained_timer_.async_wait(asio::redirect_error(asio::use_awaitable, drained));
  }
  if (!requests_.empty()) {
    log::warning("the time to drain is over", {{"requests", requests_.request_count()}});
    lose_all("the replica is shutting down and could not finish this request in time");
  }
  co_await engine_.stop();
  if (leader_) leader_->stop();  // after the engine, which has ended the group in order
  if (condition_.phase == v1::REPLICA_PHASE_DRAINING) set_phase(v1::REPLICA_PHASE_STOPPED);
  stopped_ = true;
  announcement_timer_.cancel();
  work_.reset();
  cancels_.reset();
  resends_.reset();
  drains_.reset();
  card_requests_.reset();
  kv_dump_requests_.reset();
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
