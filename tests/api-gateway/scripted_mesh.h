// A scheduler and heads written as a script: they speak the real protocol over a real bus, and the test says when.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "api-gateway/served_model.h"
#include "bellwether/v1/generate.pb.h"
#include "bellwether/v1/mesh.pb.h"
#include "mesh/bus.h"
#include "mesh/card_digest.h"
#include "mesh/subjects.h"

namespace bellwether::testing {

inline std::string read_text_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The demo model's real card.
inline v1::ModelCard demo_card() {
  const std::filesystem::path folder = BELLWETHER_DEMO_MODEL;
  v1::ModelCard card;
  card.set_config_json(read_text_file(folder / "config.json"));
  card.set_generation_config_json(read_text_file(folder / "generation_config.json"));
  card.set_tokenizer_json(read_text_file(folder / "tokenizer.json"));
  card.set_tokenizer_config_json(read_text_file(folder / "tokenizer_config.json"));
  card.set_chat_format("deepseek-r1");
  card.set_context_tokens_max(8192);
  card.set_digest(mesh::card_digest(card));
  return card;
}

// Values that arrive on the bus and that the test waits for.
template <class T>
class Arrivals {
 public:
  void push(T value) {
    {
      const std::lock_guard lock(mutex_);
      values_.push_back(std::move(value));
    }
    changed_.notify_all();
  }
  T wait() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(20), [&] { return !values_.empty(); })) {
      throw std::runtime_error("nothing arrived for 20 s");
    }
    T value = std::move(values_.front());
    values_.pop_front();
    return value;
  }
  size_t size() {
    const std::lock_guard lock(mutex_);
    return values_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<T> values_;
};

// What heads say of themselves, and no client may read.
inline constexpr const char* kInternalWords = "rank 1 (10.0.0.7, pid 42) says so";

class ScriptedMesh {
 public:
  using Answer = std::function<v1::GenerateReply(const v1::GenerateRequest&)>;

  explicit ScriptedMesh(const std::string& nats_url)
      : work_(boost::asio::make_work_guard(io_)),
        bus_(io_.get_executor(), bus_options(nats_url)),
        beat_timer_(io_),
        thread_([this] { io_.run(); }) {}
  ~ScriptedMesh() {
    boost::asio::post(io_, [this] {
      subscriptions_.clear();
      io_.stop();
    });
    thread_.join();
  }

  // A ready head of the demo model, with heartbeats and its card; the scheduler places every request on the last one.
  void add_head(const std::string& replica_id, uint64_t epoch = 1, const std::string& model = "nano") {
    on_thread([&] {
      const v1::ModelCard card = demo_card();
      card_bytes_ = card.SerializeAsString();
      v1::ReplicaState& state = states_[replica_id];
      state.set_replica_id(replica_id);
      state.set_epoch(epoch);
      state.set_model(model);
      state.set_card_digest(card.digest());
      state.set_phase(v1::REPLICA_PHASE_READY);
      state.mutable_capacity()->set_context_tokens_max(8192);
      if (subscriptions_.empty()) begin(model, card.digest());
      subscriptions_.push_back(bus_.subscribe<v1::CancelRequest>(
          mesh::subjects::replica_cancel(replica_id),
          [this, replica_id](const v1::CancelRequest& cancel, const mesh::BusMessage&) {
            cancels.push({replica_id, cancel});
          }));
      subscriptions_.push_back(bus_.subscribe<v1::ResendRequest>(
          mesh::subjects::replica_resend(replica_id),
          [this, replica_id](const v1::ResendRequest& request, const mesh::BusMessage&) {
            resends.push({replica_id, request});
          }));
      answer_ = [placed = placed_on(replica_id, epoch)](const v1::GenerateRequest&) { return placed; };
      beat();
    });
  }
  void silence_head(const std::string& replica_id) {
    on_thread([&] { states_.erase(replica_id); });
  }
  void set_phase(const std::string& replica_id, v1::ReplicaPhase phase) {
    on_thread([&] {
      states_.at(replica_id).set_phase(phase);
      if (phase == v1::REPLICA_PHASE_FAILED) states_.at(replica_id).set_failure(kInternalWords);
      beat();
    });
  }
  // A request with no answer set is left unanswered.
  void set_answer(Answer answer) {
    on_thread([&] { answer_ = std::move(answer); });
  }

  // From now on requests are queued by the scheduler `scheduler_id`, and polls of them answered like this; a poll with
  // no answer set is left unanswered.
  using PollAnswer = std::function<v1::GenerateReply(const v1::QueuePoll&)>;
  void queue_requests(const std::string& scheduler_id, PollAnswer answer) {
    on_thread([&] {
      answer_ = [queued = queued_at(scheduler_id, 3)](const v1::GenerateRequest&) { return queued; };
      subscriptions_.push_back(bus_.subscribe<v1::QueuePoll>(
          mesh::subjects::scheduler_poll(scheduler_id),
          [this, answer = std::move(answer)](const v1::QueuePoll& poll, const mesh::BusMessage& message) {
            polls.push(poll);
            if (answer && !poll.leave()) bus_.respond(message, answer(poll));
          }));
    });
  }
  static v1::GenerateReply queued_at(const std::string& scheduler_id, uint32_t position) {
    v1::GenerateReply reply;
    reply.mutable_queued()->set_scheduler_id(scheduler_id);
    reply.mutable_queued()->set_position(position);
    reply.mutable_queued()->set_estimated_wait_ms(1500);
    return reply;
  }
  static v1::GenerateReply placed_on(const std::string& replica_id, uint64_t epoch = 1) {
    v1::GenerateReply reply;
    reply.mutable_placed()->set_replica_id(replica_id);
    reply.mutable_placed()->set_epoch(epoch);
    return reply;
  }

  // Sends what a head would: `ids` from `first_index` on.
  void send(const std::string& replica_id, const v1::GenerateRequest& request, uint32_t first_index,
            const std::vector<uint32_t>& ids, v1::FinishReason finish = v1::FINISH_REASON_UNSPECIFIED,
            uint64_t epoch = 1, uint32_t attempt = 1, uint32_t choice = 0) {
    v1::TokenBatch batch;
    batch.set_replica_id(replica_id);
    batch.set_epoch(epoch);
    v1::TokenEvent& event = *batch.add_events();
    event.set_request_id(request.request_id());
    event.set_attempt(attempt);
    event.set_first_index(first_index);
    event.set_choice(choice);
    event.mutable_ids()->Add(ids.begin(), ids.end());
    if (request.sampling().logprobs()) {
      for (const uint32_t id : ids) {
        v1::TokenLogprob& logprob = *event.add_logprobs();
        logprob.set_id(id);
        logprob.set_logprob(-0.5F);
        for (uint32_t k = 0; k < request.sampling().top_logprobs(); ++k) *event.add_top_logprobs() = logprob;
      }
    }
    event.set_finish_reason(finish);
    if (finish != v1::FINISH_REASON_UNSPECIFIED) {
      event.mutable_usage()->set_cached_prompt_tokens(5 + choice);
      event.mutable_usage()->set_draft_tokens(3);
      event.mutable_usage()->set_draft_tokens_accepted(2);
    }
    if (finish == v1::FINISH_REASON_ERROR || finish == v1::FINISH_REASON_LOST) event.set_error(kInternalWords);
    bus_.publish(mesh::subjects::gateway_tokens(request.gateway_id()), batch);
  }

  void send_prompt_logprobs(const std::string& replica_id, const v1::GenerateRequest& request, uint32_t first_index,
                            const std::vector<uint32_t>& ids, uint32_t attempt = 1) {
    v1::TokenBatch batch;
    batch.set_replica_id(replica_id);
    batch.set_epoch(1);
    v1::TokenEvent& event = *batch.add_events();
    event.set_request_id(request.request_id());
    event.set_attempt(attempt);
    event.set_prompt_first_index(first_index);
    for (const uint32_t id : ids) {
      event.add_prompt_logprobs()->set_id(id);
      event.add_prompt_top_logprobs()->set_id(id);
    }
    bus_.publish(mesh::subjects::gateway_tokens(request.gateway_id()), batch);
  }

  [[nodiscard]] bool connected() const { return bus_.connected(); }

  Arrivals<v1::GenerateRequest> requests;
  Arrivals<std::pair<std::string, v1::CancelRequest>> cancels;  // by replica id
  Arrivals<std::pair<std::string, v1::ResendRequest>> resends;  // by replica id
  Arrivals<v1::QueuePoll> polls;
  Arrivals<bool> card_requests;

 private:
  static mesh::BusOptions bus_options(const std::string& nats_url) {
    mesh::BusOptions options;
    options.url = nats_url;
    return options;
  }
  void begin(const std::string& model, const std::string& digest) {
    subscriptions_.push_back(bus_.subscribe<v1::GenerateRequest>(
        mesh::subjects::request(model),
        [this](const v1::GenerateRequest& request, const mesh::BusMessage& message) {
          requests.push(request);
          if (answer_) bus_.respond(message, answer_(request));
        },
        mesh::subjects::kSchedulerQueue));
    subscriptions_.push_back(bus_.subscribe<v1::CardRequest>(
        mesh::subjects::card(model),
        [this, digest](const v1::CardRequest& request, const mesh::BusMessage& message) {
          if (request.offset() == 0) card_requests.push(true);
          v1::CardChunk chunk;
          chunk.set_digest(digest);
          chunk.set_offset(request.offset());
          chunk.set_bytes_total(card_bytes_.size());
          chunk.set_data(card_bytes_.substr(request.offset(), 20'000));
          bus_.respond(message, chunk);
        },
        mesh::subjects::kCardQueue));
    beat_later();
  }
  void beat() {
    for (auto& [id, state] : states_) {
      state.set_sequence(state.sequence() + 1);
      bus_.publish(mesh::subjects::replica_state(id), state);
    }
  }
  void beat_later() {
    beat_timer_.expires_after(std::chrono::milliseconds(100));
    beat_timer_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      beat();
      beat_later();
    });
  }
  template <class Action>
  void on_thread(Action action) {
    std::mutex mutex;
    std::condition_variable done_changed;
    bool done = false;
    boost::asio::post(io_, [&] {
      action();
      const std::lock_guard lock(mutex);
      done = true;
      done_changed.notify_all();
    });
    std::unique_lock lock(mutex);
    done_changed.wait(lock, [&] { return done; });
  }

  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  mesh::Bus bus_;
  std::string card_bytes_;
  std::map<std::string, v1::ReplicaState> states_;
  Answer answer_;
  std::vector<mesh::Subscription> subscriptions_;
  boost::asio::steady_timer beat_timer_;
  std::thread thread_;
};

}  // namespace bellwether::testing
