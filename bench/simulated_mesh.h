// A mesh in simulated time: the scheduler's own placements (services/scheduler/placer.h), the worker's own events,
// reports and rates, the engine's own loop with its planner and its cache. Simulated are the time that a step takes,
// the bus, and the requests.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "bellwether/v1/mesh.pb.h"
#include "engine/engine_loop.h"
#include "mesh/clock.h"
#include "scheduler/placer.h"
#include "worker/kv_journal.h"
#include "worker/rates.h"
#include "worker/step_costs.h"

namespace bellwether::bench {

using mesh::TimePoint;

// Events in the order of their time; those of one time in the order in which they were given.
class Simulation {
 public:
  using Duration = TimePoint::duration;

  [[nodiscard]] TimePoint now() const { return now_; }
  void after(Duration delay, std::function<void()> event);
  // Until `done` holds or nothing is left to happen.
  void run(const std::function<bool()>& done);

 private:
  struct Event {
    TimePoint at;
    uint64_t order;
    std::function<void()> run;
    bool operator<(const Event& other) const { return std::tie(other.at, other.order) < std::tie(at, order); }
  };
  TimePoint now_{std::chrono::hours(1)};
  uint64_t given_ = 0;
  std::priority_queue<Event> events_;
};

// What a replica's steps cost, and what it holds. A step of p prompt tokens and d tokens written takes
// p / prefill_tokens_per_s, and with d > 0 step_s + d * token_s beside.
struct ReplicaSpeed {
  double prefill_tokens_per_s = 10000;
  double step_s = 0.025;
  double token_s = 0.0003;
  int64_t kv_blocks = 6250;
  int sequences_max = 128;
  int waiting_max = 256;
  int batch_tokens_max = 4096;

  [[nodiscard]] double step_seconds(int64_t prompt_tokens, int64_t written_tokens) const;
};

inline constexpr int64_t kVocabulary = 1024;  // ids of simulated prompts are below
inline constexpr int64_t kContextTokensMax = 65536;

struct SimulatedRequest {
  std::string id = {};
  std::vector<int32_t> prompt_ids;
  int64_t output_tokens = 1;  // that it will have; nobody is told before
  std::string tenant = {};
  std::string session = {};
  std::function<void(const SimulatedRequest&)> on_finished = {};
  // What became of it.
  TimePoint arrived = {};
  TimePoint first_token = {};
  TimePoint finished = {};
  int64_t cached_tokens = 0;
  size_t replica = 0;
  int refusals = 0;  // it came back after each
};

class SimulatedReplica {
 public:
  struct Handlers {
    std::function<void(const v1::ReplicaState&)> on_state;
    std::function<void(const v1::Dispatch&)> on_dispatch;
    std::function<void(const v1::KvEvents&)> on_kv;
  };

  SimulatedReplica(Simulation& simulation, size_t number, const ReplicaSpeed& speed, Handlers handlers);

  void take(std::unique_ptr<SimulatedRequest> request);

  [[nodiscard]] const std::string& id() const { return id_; }
  [[nodiscard]] v1::KvDumpChunk dump();
  void begin_heartbeats(Simulation::Duration first);

  [[nodiscard]] double seconds_busy() const { return seconds_busy_; }
  [[nodiscard]] uint64_t requests_taken() const { return requests_taken_; }

 private:
  struct Live {
    std::unique_ptr<SimulatedRequest> request;
    bool prefill_done = false;
  };

  void beat();
  void announce();
  void step();
  void end_step(const engine::StepReport& report, double seconds);
  void on_output(const engine::SequenceOutput& output);
  void tell_schedulers(v1::Dispatch::Kind kind, const SimulatedRequest& request);

  Simulation& simulation_;
  std::string id_;
  size_t number_;
  ReplicaSpeed speed_;
  Handlers handlers_;
  std::unique_ptr<engine::EngineLoop> engine_;
  worker::KvJournal journal_;
  worker::Rates rates_;
  worker::StepCosts costs_;
  std::vector<std::unique_ptr<SimulatedRequest>> arrived_;  // during a step: the engine takes them after it
  std::map<engine::SequenceId, Live> live_;
  engine::SequenceId sequence_last_ = 0;
  bool computes_ = false;
  uint64_t states_ = 0;
  TimePoint announced_{};
  double seconds_busy_ = 0;
  uint64_t requests_taken_ = 0;
};

struct MeshOptions {
  size_t replicas = 8;
  size_t schedulers = 1;
  std::string strategy;
  ReplicaSpeed speed = {};
  size_t slow_replicas = 0;  // the first ones, at half the speed
  uint64_t seed = 1;
};

class SimulatedMesh {
 public:
  explicit SimulatedMesh(const MeshOptions& options);

  // The request comes in now.
  void submit(std::unique_ptr<SimulatedRequest> request);

  [[nodiscard]] Simulation& simulation() { return simulation_; }
  [[nodiscard]] uint64_t in_progress() const { return in_progress_; }
  [[nodiscard]] const std::vector<std::unique_ptr<SimulatedReplica>>& replicas() const { return replicas_; }

 private:
  void place(std::unique_ptr<SimulatedRequest> request);
  void maintain();
  template <class Message>
  void broadcast(const Message& message);

  Simulation simulation_;
  scheduler::Strategy strategy_;
  std::vector<std::unique_ptr<scheduler::Placer>> schedulers_;
  std::vector<std::unique_ptr<SimulatedReplica>> replicas_;
  std::map<std::string, size_t> replica_numbers_;
  std::mt19937_64 random_;
  uint64_t requests_ = 0;
  uint64_t in_progress_ = 0;
};

}  // namespace bellwether::bench
