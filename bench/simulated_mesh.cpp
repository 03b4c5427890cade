#include "simulated_mesh.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "engine/block_hash.h"
#include "engine/echo/echo_forward.h"
#include "engine/engine_options.h"
#include "worker/replica_state.h"

namespace bellwether::bench {
namespace {

constexpr const char* kModel = "simulated";
constexpr uint32_t kMaxTokens = 4096;  // that every request asks for at most
constexpr std::chrono::microseconds kBusDelay{300};
constexpr std::chrono::milliseconds kComesBackAfter{250};  // a refused request
constexpr std::chrono::milliseconds kMaintainEvery{100};

Simulation::Duration duration_of(double seconds) {
  return std::chrono::duration_cast<Simulation::Duration>(std::chrono::duration<double>(seconds));
}

std::unique_ptr<engine::EngineLoop> make_engine(const ReplicaSpeed& speed) {
  engine::ModelConfig config;
  config.vocab_size = kVocabulary;
  config.max_position_embeddings = kContextTokensMax;
  const engine::EngineOptions options = engine::resolve({.threads = 1,
                                                         .sequences_max = speed.sequences_max,
                                                         .waiting_max = speed.waiting_max,
                                                         .kv_blocks = speed.kv_blocks,
                                                         .batch_tokens_max = speed.batch_tokens_max},
                                                        config);
  auto forward = std::make_unique<engine::EchoForward>(config, options.kv_blocks, engine::EchoPace{},
                                                       [](std::chrono::nanoseconds) {});
  return std::make_unique<engine::EngineLoop>(config, options, std::move(forward));
}

}  // namespace

void Simulation::after(Duration delay, std::function<void()> event) {
  events_.push({now_ + delay, given_++, std::move(event)});
}

void Simulation::run(const std::function<bool()>& done) {
  while (!done() && !events_.empty()) {
    // top() is const, but it is gone in a moment.
    Event event = std::move(const_cast<Event&>(events_.top()));
    events_.pop();
    now_ = event.at;
    event.run();
  }
}

double ReplicaSpeed::step_seconds(int64_t prompt_tokens, int64_t written_tokens) const {
  const double reading = static_cast<double>(prompt_tokens) / prefill_tokens_per_s;
  return written_tokens == 0 ? reading : reading + step_s + static_cast<double>(written_tokens) * token_s;
}

SimulatedReplica::SimulatedReplica(Simulation& simulation, size_t number, const ReplicaSpeed& speed, Handlers handlers)
    : simulation_(simulation),
      id_(fmt::format("replica-{:03}", number)),
      number_(number),
      speed_(speed),
      handlers_(std::move(handlers)),
      engine_(make_engine(speed)),
      journal_(id_),
      costs_(speed.sequences_max) {}

v1::KvDumpChunk SimulatedReplica::dump() {
  return journal_.chunk(journal_.add_snapshot(1, engine_->kv_dump(), simulation_.now()), 0);
}

void SimulatedReplica::begin_heartbeats(Simulation::Duration first) {
  announce();
  simulation_.after(first, [this] { beat(); });
}

void SimulatedReplica::beat() {
  if (simulation_.now() - announced_ >= worker::Announcements::kChangeGap) announce();
  simulation_.after(worker::Announcements::kHeartbeat, [this] { beat(); });
}

void SimulatedReplica::announce() {
  announced_ = simulation_.now();
  const engine::EngineLoad load = engine_->load_now();
  worker::Condition condition{.phase = v1::REPLICA_PHASE_READY};
  condition.capacity.set_sequences_max(static_cast<uint32_t>(speed_.sequences_max));
  condition.capacity.set_waiting_max(static_cast<uint32_t>(speed_.waiting_max));
  condition.capacity.set_kv_blocks_total(static_cast<uint32_t>(speed_.kv_blocks));
  condition.load.set_running(static_cast<uint32_t>(load.running));
  condition.load.set_waiting(static_cast<uint32_t>(live_.size() + arrived_.size()) - condition.load.running());
  condition.load.set_kv_blocks_used(static_cast<uint32_t>(load.kv_blocks_used));
  int64_t pending = load.tokens_pending;
  for (const auto& request : arrived_) pending += std::ssize(request->prompt_ids);
  condition.load.set_tokens_pending(static_cast<uint64_t>(pending));
  v1::Rates rates = rates_.now(announced_);
  rates.set_prefill_tokens_per_busy_s(costs_.prefill_tokens_per_s());
  rates.set_decode_tokens_per_busy_s(costs_.decode_tokens_per_s());
  const worker::Identity identity{.replica_id = id_, .epoch = 1, .model = kModel};
  handlers_.on_state(worker::make_state(identity, condition, rates, ++states_));
}

void SimulatedReplica::take(std::unique_ptr<SimulatedRequest> request) {
  request->replica = number_;
  ++requests_taken_;
  arrived_.push_back(std::move(request));
  if (!computes_) step();
}

void SimulatedReplica::step() {
  for (auto& request : std::exchange(arrived_, {})) {
    std::string reason;
    const engine::SequenceId id = ++sequence_last_;
    const engine::Admission admission = engine_->admit({.id = id,
                                                        .prompt_ids = request->prompt_ids,
                                                        .sampling = {.temperature = 0},
                                                        .max_tokens = request->output_tokens},
                                                       &reason);
    if (admission != engine::Admission::kAdmitted) {
      throw std::runtime_error("the engine does not take a request: " + reason);
    }
    live_[id].request = std::move(request);
  }
  computes_ = engine_->has_work();
  if (!computes_) return;
  engine::StepReport report = engine_->step();
  const double seconds = speed_.step_seconds(report.prefill_tokens, report.decode_tokens);
  simulation_.after(duration_of(seconds), [this, seconds, report = std::move(report)] { end_step(report, seconds); });
}

void SimulatedReplica::end_step(const engine::StepReport& report, double seconds) {
  seconds_busy_ += seconds;
  rates_.add(simulation_.now(), report.prefill_tokens, report.decode_tokens);
  costs_.add(seconds, report.prefill_tokens, report.decode_tokens);
  for (const v1::KvEvents& events : journal_.tell(1, report.kv_events)) handlers_.on_kv(events);
  for (const engine::SequenceOutput& output : report.outputs) on_output(output);
  if (simulation_.now() - announced_ >= worker::Announcements::kChangeGap) announce();
  step();
}

void SimulatedReplica::on_output(const engine::SequenceOutput& output) {
  const auto found = live_.find(output.id);
  SimulatedRequest& request = *found->second.request;
  if (output.prefill_done && !found->second.prefill_done) {
    found->second.prefill_done = true;
    request.cached_tokens = output.cached_tokens;
    tell_schedulers(v1::Dispatch::PREFILL_DONE, request);
  }
  if (!output.ids.empty() && output.first_index == 0) request.first_token = simulation_.now();
  if (output.finish == engine::Finish::kNone) return;
  request.finished = simulation_.now();
  tell_schedulers(v1::Dispatch::FREE, request);
  const std::unique_ptr<SimulatedRequest> finished = std::move(found->second.request);
  live_.erase(found);
  finished->on_finished(*finished);
}

void SimulatedReplica::tell_schedulers(v1::Dispatch::Kind kind, const SimulatedRequest& request) {
  v1::Dispatch event;
  event.set_kind(kind);
  event.set_request_id(request.id);
  event.set_attempt(1);
  event.set_replica_id(id_);
  event.set_epoch(1);
  event.set_model(kModel);
  event.set_tenant(request.tenant);
  event.set_choices(1);
  if (kind == v1::Dispatch::FREE) event.set_completion_tokens(static_cast<uint32_t>(request.output_tokens));
  handlers_.on_dispatch(event);
}

SimulatedMesh::SimulatedMesh(const MeshOptions& options) : random_(options.seed) {
  const auto strategy = scheduler::find_strategy(options.strategy);
  if (!strategy) throw std::invalid_argument("unknown strategy " + options.strategy);
  strategy_ = *strategy;
  for (size_t i = 0; i < options.schedulers; ++i) {
    schedulers_.push_back(std::make_unique<scheduler::Placer>(
        scheduler::PlacerOptions{.scheduler_id = fmt::format("scheduler-{}", i), .random_seed = options.seed + i},
        [this] { return simulation_.now(); }));
  }
  for (size_t i = 0; i < options.replicas; ++i) {
    ReplicaSpeed speed = options.speed;
    if (i < options.slow_replicas) {
      speed.prefill_tokens_per_s /= 2;
      speed.step_s *= 2;
      speed.token_s *= 2;
    }
    replicas_.push_back(std::make_unique<SimulatedReplica>(
        simulation_, i, speed,
        SimulatedReplica::Handlers{.on_state = [this](const v1::ReplicaState& state) { broadcast(state); },
                                   .on_dispatch = [this](const v1::Dispatch& event) { broadcast(event); },
                                   .on_kv = [this](const v1::KvEvents& events) { broadcast(events); }}));
    replica_numbers_[replicas_.back()->id()] = i;
    replicas_.back()->begin_heartbeats(worker::Announcements::kHeartbeat * i / options.replicas);
  }
  // Everybody has heard of everybody before the first request.
  const TimePoint begin = simulation_.now() + 2 * kBusDelay;
  simulation_.run([&] { return simulation_.now() >= begin; });
  for (const auto& each : schedulers_) {
    for (const auto& replica : replicas_) {
      static_cast<void>(each->begin_dump(replica->id()));
      if (each->apply(replica->id(), replica->dump())) throw std::logic_error("an empty cache has one piece");
    }
  }
  maintain();
}

void SimulatedMesh::maintain() {
  for (const auto& each : schedulers_) static_cast<void>(each->maintain());
  simulation_.after(kMaintainEvery, [this] { maintain(); });
}

// To every scheduler, a little later.
template <class Message>
void SimulatedMesh::broadcast(const Message& message) {
  simulation_.after(kBusDelay, [this, message] {
    for (const auto& each : schedulers_) static_cast<void>(each->apply(message));
  });
}

void SimulatedMesh::submit(std::unique_ptr<SimulatedRequest> request) {
  request->id = fmt::format("request-{}", ++requests_);
  request->arrived = simulation_.now();
  ++in_progress_;
  request->on_finished = [this, then = std::move(request->on_finished)](const SimulatedRequest& finished) {
    --in_progress_;
    if (then) then(finished);
  };
  place(std::move(request));
}

void SimulatedMesh::place(std::unique_ptr<SimulatedRequest> request) {
  const size_t number = random_() % schedulers_.size();
  scheduler::Placer& placer = *schedulers_[number];
  const scheduler::Candidate candidate{.key = {request->id, 1},
                                       .model = kModel,
                                       .tenant = request->tenant,
                                       .session_id = request->session,
                                       .prompt_tokens = request->prompt_ids.size(),
                                       .max_tokens = kMaxTokens,
                                       .block_hashes = engine::prompt_block_hashes(request->prompt_ids, 0)};
  const auto placed = placer.place(candidate, strategy_, {.rank = number, .schedulers = schedulers_.size()});
  // std::function wants what can be copied.
  auto held = std::make_shared<std::unique_ptr<SimulatedRequest>>(std::move(request));
  if (!placed) {
    ++(*held)->refusals;
    simulation_.after(kComesBackAfter, [this, held] { place(std::move(*held)); });
    return;
  }
  broadcast(placer.reservation(candidate, *placed));
  simulation_.after(2 * kBusDelay, [replica = replicas_[replica_numbers_.at(placed->replica_id)].get(), held] {
    replica->take(std::move(*held));
  });
}

}  // namespace bellwether::bench
