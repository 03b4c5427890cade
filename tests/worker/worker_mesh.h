// A nats-server, a real worker, and somebody on the bus who sees all it says.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "bellwether/v1/generate.pb.h"
#include "bellwether/v1/mesh.pb.h"
#include "mesh/bus.h"
#include "mesh/http_client.h"
#include "mesh/nats_server.h"
#include "mesh/process.h"
#include "mesh/subjects.h"

namespace bellwether::testing {

class WorkerMesh {
 public:
  static constexpr std::chrono::seconds kPatience{180};  // sanitized engines are slow
  static constexpr const char* kReplica = "replica-1";

  // Starts a worker with these arguments beside the shared ones.
  explicit WorkerMesh(const std::vector<std::string>& arguments)
      : bus_(io_.get_executor(), {.url = nats_.url(), .client_name = "test", .credentials_file = {}}) {
    keep(states_, mesh::subjects::replica_state(kReplica));
    keep(dispatches_, std::string(mesh::subjects::kDispatch));
    keep(kv_events_, mesh::subjects::replica_kv_events(kReplica));
    for (const char* gateway : {"gateway-a", "gateway-b"}) {
      keep(batches_[gateway], mesh::subjects::gateway_tokens(gateway));
    }
    if (!wait_for(bus_.flush(kPatience))) throw std::runtime_error("the subscriptions did not reach the server");
    std::vector<std::string> command = {mesh::program_folder() + "/bellwether-worker",
                                        "--nats-url",
                                        nats_.url(),
                                        "--replica-id",
                                        kReplica,
                                        "--log-level",
                                        "debug"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    process_.emplace(mesh::Command{.arguments = command, .log_file = {}});
  }

  mesh::ChildProcess& process() { return *process_; }
  [[nodiscard]] const std::vector<v1::ReplicaState>& states() const { return states_; }
  [[nodiscard]] const std::vector<v1::Dispatch>& dispatches() const { return dispatches_; }
  [[nodiscard]] const std::vector<v1::KvEvents>& kv_events() const { return kv_events_; }
  [[nodiscard]] const std::vector<v1::TokenBatch>& batches(const std::string& gateway = "gateway-a") const {
    return batches_.at(gateway);
  }

  // Handles messages until the condition holds; false when it does not in time.
  template <class Condition>
  bool until(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!condition()) {
      if (io_.run_one_until(deadline) == 0) return false;
    }
    return true;
  }

  bool until_phase(v1::ReplicaPhase phase) {
    return until([&] { return !states_.empty() && states_.back().phase() == phase; });
  }

  // Until a state that was made after everything the worker has said so far.
  bool until_next_state() {
    const size_t seen = states_.size();
    return until([&] { return states_.size() > seen; });
  }

  bool until_freed(const std::string& request_id, uint32_t attempt = 1) {
    return until([&] { return dispatched(v1::Dispatch::FREE, request_id, attempt) > 0; });
  }

  template <mesh::ProtoMessage Reply, mesh::ProtoMessage Request>
  Reply ask(const std::string& subject, const Request& request) {
    return wait_for(bus_.request<Reply>(subject, request, std::chrono::seconds(20)));
  }

  v1::GenerateReply place(const v1::GenerateRequest& request) {
    return ask<v1::GenerateReply>(mesh::subjects::replica_work(kReplica), request);
  }

  void cancel(const std::string& request_id, uint32_t attempt) {
    v1::CancelRequest request;
    request.set_request_id(request_id);
    request.set_attempt(attempt);
    publish(mesh::subjects::replica_cancel(kReplica), request);
  }

  v1::DrainReply drain(uint32_t limit_ms) {
    v1::DrainRequest request;
    request.set_limit_ms(limit_ms);
    return ask<v1::DrainReply>(mesh::subjects::replica_drain(kReplica), request);
  }

  // For the tokens of the first choice from `next_index` on, on behalf of the gateway that all requests come from.
  void ask_again(const std::string& request_id, uint32_t attempt, uint32_t next_index) {
    v1::ResendRequest request;
    request.set_request_id(request_id);
    request.set_attempt(attempt);
    request.set_gateway_id(batches_.begin()->first);
    request.add_from()->set_next_index(next_index);
    publish(mesh::subjects::replica_resend(kReplica), request);
  }

  template <mesh::ProtoMessage Message>
  void publish(const std::string& subject, const Message& message) {
    bus_.publish(subject, message);
  }

  [[nodiscard]] int dispatched(v1::Dispatch::Kind kind, const std::string& request_id, uint32_t attempt = 1) const {
    int count = 0;
    for (const auto& dispatch : dispatches_) {
      count += dispatch.kind() == kind && dispatch.request_id() == request_id && dispatch.attempt() == attempt ? 1 : 0;
    }
    return count;
  }

  // A request's events, in the order in which they came.
  [[nodiscard]] std::vector<v1::TokenEvent> events(const std::string& request_id, uint32_t attempt = 1) const {
    std::vector<v1::TokenEvent> events;
    for (const auto& [gateway, batches] : batches_) {
      for (const auto& batch : batches) {
        for (const auto& event : batch.events()) {
          if (event.request_id() == request_id && event.attempt() == attempt) events.push_back(event);
        }
      }
    }
    return events;
  }

  bool until_finished(const std::string& request_id, uint32_t attempt = 1) {
    return until([&] {
      const auto all = events(request_id, attempt);
      return !all.empty() && all.back().finish_reason() != v1::FINISH_REASON_UNSPECIFIED;
    });
  }

  [[nodiscard]] Answer get(const std::string& path) const {
    RawClient client(states_.back().metrics_address());
    client.request("GET", path);
    return client.read_answer();
  }

  // The value of a series on /metrics, as text.
  [[nodiscard]] std::string metric(const std::string& name, const std::string& labels) const {
    const std::string body = "\n" + get("/metrics").body;
    const std::string series = "\n" + name + "{" + labels + "} ";
    const size_t at = body.find(series);
    if (at == std::string::npos) return "absent";
    const size_t begin = at + series.size();
    return body.substr(begin, body.find('\n', begin) - begin);
  }
  [[nodiscard]] std::string metric(const std::string& name) const {
    return metric(name, R"(engine="0",model_name="bellwether-nano")");
  }

 private:
  template <class Message>
  void keep(std::vector<Message>& kept, const std::string& subject) {
    subscriptions_.push_back(bus_.subscribe<Message>(
        subject, [&kept](const Message& message, const mesh::BusMessage&) { kept.push_back(message); }));
  }

  template <class Result>
  Result wait_for(boost::asio::awaitable<Result> operation) {
    std::optional<Result> result;
    std::exception_ptr failure;
    boost::asio::co_spawn(io_, std::move(operation), [&](const std::exception_ptr& error, Result value) {
      failure = error;
      result = std::move(value);
    });
    if (!until([&] { return result.has_value(); })) throw std::runtime_error("no answer in time");
    if (failure) std::rethrow_exception(failure);
    return *std::move(result);
  }

  NatsServer nats_;
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{io_.get_executor()};
  mesh::Bus bus_;
  std::vector<v1::ReplicaState> states_;
  std::vector<v1::Dispatch> dispatches_;
  std::vector<v1::KvEvents> kv_events_;
  std::map<std::string, std::vector<v1::TokenBatch>> batches_;
  std::vector<mesh::Subscription> subscriptions_;
  std::optional<mesh::ChildProcess> process_;
};

}  // namespace bellwether::testing
