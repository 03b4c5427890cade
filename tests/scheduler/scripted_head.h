// A head that speaks the real protocol on a real bus and does with its work what the test says.
#pragma once

#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "bellwether/v1/generate.pb.h"
#include "bellwether/v1/mesh.pb.h"
#include "mesh/bus.h"
#include "mesh/subjects.h"

namespace bellwether::testing {

inline mesh::BusOptions bus_options(const std::string& url, const std::string& client_name) {
  mesh::BusOptions options;
  options.url = url;
  options.client_name = client_name;
  return options;
}

class ScriptedHead {
 public:
  enum class Manner { kAccepts, kOverloaded, kDraining, kInvalid, kSilent };

  ScriptedHead(boost::asio::io_context& io, const std::string& url, std::string id, std::string model)
      : bus_(io.get_executor(), bus_options(url, id)), beat_timer_(io), load_timer_(io) {
    state_.set_replica_id(std::move(id));
    state_.set_epoch(1);
    state_.set_model(std::move(model));
    state_.set_phase(v1::REPLICA_PHASE_READY);
    state_.mutable_capacity()->set_sequences_max(200);
    state_.mutable_capacity()->set_waiting_max(100);
    state_.mutable_capacity()->set_kv_blocks_total(10000);
    work_ = bus_.subscribe<v1::GenerateRequest>(
        mesh::subjects::replica_work(state_.replica_id()),
        [this](const v1::GenerateRequest& request, const mesh::BusMessage& message) { on_work(request, message); });
    cancels_ = bus_.subscribe<v1::CancelRequest>(
        mesh::subjects::replica_cancel(state_.replica_id()),
        [this](const v1::CancelRequest& order, const mesh::BusMessage&) { cancelled.push_back(order.request_id()); });
    dumps_ = bus_.subscribe<v1::KvDumpRequest>(
        mesh::subjects::replica_kv_dump(state_.replica_id()),
        [this](const v1::KvDumpRequest&, const mesh::BusMessage& message) { answer_dump(message); });
    beat();
  }

  [[nodiscard]] const std::string& id() const { return state_.replica_id(); }
  // The state it announces; takes effect with the next publish_state().
  v1::ReplicaState& state() { return state_; }

  void publish_state() {
    state_.mutable_load()->set_running(static_cast<uint32_t>(held.size()));
    state_.mutable_load()->set_kv_blocks_used(static_cast<uint32_t>(held.size()));
    state_.set_sequence(state_.sequence() + 1);
    bus_.publish(mesh::subjects::replica_state(id()), state_, mesh::Urgency::kBatched);
  }

  // Its cache holds these blocks of one prompt from now on. The event of it is told, or lost.
  void store(const std::vector<uint64_t>& block_hashes, bool told) {
    v1::KvEvent& event = stored_.emplace_back();
    event.mutable_stored()->mutable_block_hashes()->Add(block_hashes.begin(), block_hashes.end());
    if (!told) return;
    v1::KvEvents events;
    events.set_replica_id(id());
    events.set_epoch(state_.epoch());
    events.set_first_number(stored_.size());
    *events.add_events() = event;
    bus_.publish(mesh::subjects::replica_kv_events(id()), events);
  }

  // No heartbeat any more; work is still taken.
  void fall_silent() {
    mute_ = true;
    beat_timer_.cancel();
    load_timer_.cancel();
  }

  void finish_all() {
    for (const auto& [request_id, attempt] : std::exchange(held, {})) free(request_id, attempt);
    publish_state();
  }
  void finish(const std::string& request_id, uint32_t attempt = 1, bool failed = false) {
    held.erase({request_id, attempt});
    free(request_id, attempt, failed);
    publish_state();
  }

  boost::asio::awaitable<void> stop() {
    fall_silent();
    co_await bus_.stop();
  }

  Manner manner = Manner::kAccepts;
  std::set<std::pair<std::string, uint32_t>> held;  // request_id, attempt
  std::vector<std::string> offered;                 // request_ids, in order
  std::vector<std::string> cancelled;
  int dumps = 0;            // of its cache, that were asked for
  int canaries = 0;         // that came
  std::string traceparent;  // of the last one offered

 private:
  void free(const std::string& request_id, uint32_t attempt, bool failed = false) {
    v1::Dispatch event;
    event.set_kind(v1::Dispatch::FREE);
    event.set_request_id(request_id);
    event.set_attempt(attempt);
    event.set_replica_id(id());
    event.set_epoch(state_.epoch());
    event.set_model(state_.model());
    event.set_failed(failed);
    bus_.publish(mesh::subjects::kDispatch, event);
  }

  void beat() {
    publish_state();
    beat_timer_.expires_after(std::chrono::milliseconds(250));
    beat_timer_.async_wait([this](const boost::system::error_code& error) {
      if (!error && !mute_) beat();
    });
  }

  // Changes of load are announced at most every 20 ms.
  void load_changed() {
    if (load_pending_ || mute_) return;
    load_pending_ = true;
    load_timer_.expires_after(std::chrono::milliseconds(20));
    load_timer_.async_wait([this](const boost::system::error_code& error) {
      load_pending_ = false;
      if (!error && !mute_) publish_state();
    });
  }

  void answer_dump(const mesh::BusMessage& message) {
    ++dumps;
    v1::KvDumpChunk chunk;
    chunk.set_replica_id(id());
    chunk.set_epoch(state_.epoch());
    chunk.set_snapshot(1);
    chunk.set_last_number(stored_.size());
    chunk.set_events_total(stored_.size());
    chunk.mutable_events()->Add(stored_.begin(), stored_.end());
    bus_.respond(message, chunk);
  }

  // The one token that a scheduler wants to see.
  void answer_canary(const v1::GenerateRequest& request, const mesh::BusMessage& message) {
    ++canaries;
    if (manner != Manner::kAccepts) return;
    v1::GenerateReply reply;
    reply.mutable_placed()->set_replica_id(id());
    reply.mutable_placed()->set_epoch(state_.epoch());
    bus_.respond(message, reply);
    v1::TokenBatch batch;
    batch.set_replica_id(id());
    batch.set_epoch(state_.epoch());
    v1::TokenEvent& event = *batch.add_events();
    event.set_request_id(request.request_id());
    event.set_attempt(request.attempt());
    event.add_ids(7);
    event.set_finish_reason(v1::FINISH_REASON_LENGTH);
    bus_.publish(mesh::subjects::gateway_tokens(request.gateway_id()), batch);
  }

  void on_work(const v1::GenerateRequest& request, const mesh::BusMessage& message) {
    if (request.request_id().starts_with("canary")) return answer_canary(request, message);
    offered.push_back(request.request_id());
    traceparent = request.traceparent();
    v1::GenerateReply reply;
    switch (manner) {
      case Manner::kAccepts:
        held.emplace(request.request_id(), request.attempt());
        load_changed();
        reply.mutable_placed()->set_replica_id(id());
        reply.mutable_placed()->set_epoch(state_.epoch());
        break;
      case Manner::kOverloaded:
        reply.mutable_refused()->set_code(v1::REFUSAL_CODE_OVERLOADED);
        break;
      case Manner::kDraining:
        reply.mutable_refused()->set_code(v1::REFUSAL_CODE_DRAINING);
        break;
      case Manner::kInvalid:
        reply.mutable_refused()->set_code(v1::REFUSAL_CODE_INVALID);
        reply.mutable_refused()->set_message("prompt too long");
        break;
      case Manner::kSilent:
        return;
    }
    bus_.respond(message, reply);
  }

  mesh::Bus bus_;
  v1::ReplicaState state_;
  bool mute_ = false;
  bool load_pending_ = false;
  boost::asio::steady_timer beat_timer_;
  boost::asio::steady_timer load_timer_;
  mesh::Subscription work_;
  mesh::Subscription cancels_;
  mesh::Subscription dumps_;
  std::vector<v1::KvEvent> stored_;
};

}  // namespace bellwether::testing
