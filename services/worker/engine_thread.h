// The engine on a thread of its own.
//
// The engine is driven by one thread, and a step may take long; everything else in a worker runs on one executor. The
// two exchange messages: admissions and cancellations go in and are applied between steps, one report comes out after
// each step. The thread sleeps while there is nothing to do.
//
// Order: commands are applied in theirs. A sequence's `admitted` comes before its outputs, and nothing about it after
// its `cancelled`, its `rejected` or its finish. A cancelled sequence that finished meanwhile is reported as both, the
// finish first.
//
// With several ranks the engine computes only while it is in a group. What was admitted before it left the last one is
// forgotten: neither that nor what is admitted or cancelled until the next join is heard of again.
//
// What waits is bounded by the caller: it keeps at most as many sequences live as the engine takes (admission.h), and
// cancels each once.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include "engine/engine.h"
#include "mesh/clock.h"
#include "worker/model_loading.h"
#include "worker/rank_endpoint.h"

namespace bellwether::worker {

struct EngineReport {
  struct Rejection {
    engine::SequenceId sequence = 0;
    std::string reason;
  };
  std::vector<engine::SequenceId> admitted;
  std::vector<Rejection> rejected;  // the engine does not take them
  std::vector<engine::SequenceId> cancelled;
  std::optional<std::vector<engine::KvEvent>> kv_dump;  // asked for; as of after the step
  bool stepped = false;
  engine::StepReport step;
  std::chrono::duration<double> step_took{};
  engine::EngineLoad load;  // after all of the above
  mesh::TimePoint ended;
};

// Called on the executor. on_failed is the last call if it comes; nothing is called once stop() has been called, but
// reports of what was computed before.
struct EngineHandlers {
  using Vocabulary = std::shared_ptr<const text::grammar::Vocabulary>;  // LoadedModel's

  std::function<void(double)> on_progress;  // 0 to 1, in steps of a hundredth
  std::function<void(ModelFacts, v1::ModelCard, Vocabulary)> on_loaded;
  std::function<void(EngineReport)> on_report;
  std::function<void(std::string)> on_failed;  // loading or a step threw; the reason
  // With several ranks: loaded, and reached there by one group; then as GroupLeader's head_running() and head_left().
  std::function<void(std::string address)> on_reachable = {};
  // The facts as of now: how large the KV cache is depends on all ranks.
  std::function<void(uint64_t epoch, ModelFacts)> on_joined = {};
  std::function<void(uint64_t epoch, std::string reason)> on_left = {};
};

class EngineThread {
 public:
  using Loader = std::function<LoadedModel(const std::function<void(double)>& progress)>;

  // Starts loading. `open_endpoint` is empty for a replica of one rank. All methods belong to the executor's thread.
  EngineThread(boost::asio::any_io_executor executor, Loader loader, EngineHandlers handlers,
               OpenEndpoint open_endpoint = {});
  ~EngineThread();  // waits for the step in progress
  EngineThread(const EngineThread&) = delete;
  EngineThread& operator=(const EngineThread&) = delete;

  void admit(engine::SequenceRequest request);
  void cancel(engine::SequenceId sequence);
  void dump_kv();  // one of the next reports has a dump

  // Each address that on_reachable told serves for one group. REQUIRES: several ranks.
  void join(GroupPlace place);
  // Gives up the group of this epoch, also in the midst of a step.
  void leave(uint64_t epoch);

  // Ends the thread after the step in progress, or in the midst of loading. May be called twice.
  boost::asio::awaitable<void> stop();

 private:
  class Shared;
  class Work;
  static void run(const std::shared_ptr<Shared>& shared, const Loader& loader);

  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace bellwether::worker
