// The head of a replica on the bus: it takes work, streams tokens, and tells the mesh how it is.
//
// Everything here runs on the service's executor; the engine has its own thread (engine_thread.h). With several ranks
// the replica is ready while their group runs (group_leader.h). When it breaks, the replica fails as a whole, tells the
// gateways that its requests are lost, and is ready again, with a new epoch, once the ranks are back.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "bellwether/v1/generate.pb.h"
#include "bellwether/v1/mesh.pb.h"
#include "mesh/service.h"
#include "worker/constraints.h"
#include "worker/engine_thread.h"
#include "worker/group_leader.h"
#include "worker/kv_journal.h"
#include "worker/model_card.h"
#include "worker/rates.h"
#include "worker/replica_state.h"
#include "worker/request_table.h"
#include "worker/settings.h"
#include "worker/step_costs.h"
#include "worker/token_history.h"
#include "worker/worker_metrics.h"

namespace bellwether::worker {

class Replica final : public mesh::Component {
 public:
  // Begins to load the model. Throws mesh::Error when the settings cannot work.
  Replica(mesh::Service& service, const WorkerSettings& settings);
  ~Replica() override;

  // Takes no more work, finishes what it has within the limit, hands the rest back to its gateways as lost, and says
  // goodbye. The limit is the shutdown grace, or what a DrainRequest said.
  boost::asio::awaitable<void> stop() override;

 private:
  static constexpr size_t kSentBytesMax = 16 << 20;  // some seconds of the tokens of some hundred streams

  // What the engine's thread reports.
  void on_progress(double done);
  void on_loaded(ModelFacts facts, v1::ModelCard card, EngineHandlers::Vocabulary vocabulary);
  void on_joined(uint64_t epoch, ModelFacts facts);
  void on_report(const EngineReport& report);
  void on_failed(const std::string& reason);

  // What the group's leader says.
  void on_group_start(uint64_t epoch, std::vector<std::string> addresses);
  void on_group_broken(const std::string& reason);
  void on_group_changed();

  // What the bus brings.
  void on_work(const v1::GenerateRequest& request, const mesh::BusMessage& message);
  void on_cancel(const v1::CancelRequest& cancel);
  void on_resend(const v1::ResendRequest& request);
  void on_drain(const v1::DrainRequest& request, const mesh::BusMessage& message);
  void on_card_request(const v1::CardRequest& request, const mesh::BusMessage& message);
  void on_kv_dump_request(const v1::KvDumpRequest& request, const mesh::BusMessage& message);

  [[nodiscard]] v1::GenerateReply take(const v1::GenerateRequest& request);
  [[nodiscard]] v1::GenerateReply placed() const;
  [[nodiscard]] std::vector<engine::SequenceRequest> sequences(const v1::GenerateRequest& request);
  void cancel(LiveRequest& request);
  void cancel(LiveChoice& choice);

  // One sequence's part of a report. The events gather in `batches_` until send_batches().
  void on_output(const engine::SequenceOutput& output, mesh::TimePoint ended);
  void on_prefill_done(LiveSequence sequence, const engine::SequenceOutput& output);
  void measure(LiveSequence sequence, const engine::SequenceOutput& output, mesh::TimePoint ended);
  void measure_step(const EngineReport& report);
  void end_with_error(LiveSequence sequence, const std::string& message);
  void lose_all(const std::string& message);
  void send_again(const v1::ResendRequest& request, const v1::ResendRequest::From& from, v1::TokenBatch& batch);
  void send_batches();
  void send_kv(const EngineReport& report);

  // The sequence has left the engine and is forgotten; with the last of a request the schedulers hear of it.
  void release(LiveSequence sequence, FinishedReason reason);
  void describe(LiveSequence last, FinishedReason reason) const;
  void tell_schedulers(v1::Dispatch::Kind kind, const LiveRequest& request);

  void learn(ModelFacts facts);
  void become_ready();
  void set_phase(v1::ReplicaPhase phase);
  [[nodiscard]] v1::Rates rates(mesh::TimePoint now) const;
  void update_load();
  void announce();
  void arm_announcement();

  // Runs something that publishes; a message that the bus does not take is counted and logged.
  template <class Publish>
  void publishing(std::string_view what, Publish publish);

  mesh::Service& service_;
  WorkerSettings settings_;
  Identity identity_;
  Condition condition_;
  ModelFacts facts_;
  SerializedCard card_;
  double own_progress_ = 0;                 // of loading, 0 to 1
  std::optional<Constraints> constraints_;  // once the model is loaded
  RequestTable requests_;
  engine::SequenceId sequence_last_ = 0;
  engine::EngineLoad engine_load_;                 // as of the last report
  int64_t tokens_outside_engine_ = 0;              // to prefill, of requests that the engine has not admitted yet
  std::map<std::string, v1::TokenBatch> batches_;  // by gateway
  TokenHistory sent_{kSentBytesMax};
  KvJournal kv_journal_;
  std::vector<mesh::BusMessage> kv_dumps_wanted_;  // to be answered with the next dump
  Rates rates_;
  std::optional<StepCosts> step_costs_;  // these two once the model is loaded
  std::optional<WorkerMetrics> metrics_;

  Announcements announcements_;
  uint64_t states_announced_ = 0;
  boost::asio::steady_timer announcement_timer_;
  std::chrono::milliseconds drain_limit_;
  boost::asio::steady_timer drained_timer_;  // runs for the limit; cancelled when the last request has left
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // gone with this object: a timer's late handler looks
  bool stopped_ = false;

  mesh::Subscription work_;
  mesh::Subscription cancels_;
  mesh::Subscription resends_;
  mesh::Subscription drains_;
  mesh::Subscription card_requests_;
  mesh::Subscription kv_dump_requests_;
  std::optional<GroupLeader> leader_;  // with several ranks
  EngineThread engine_;                // last: its thread starts when everything else is there
};

}  // namespace bellwether::worker
