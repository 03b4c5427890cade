// The event bus: typed publish, subscribe and request over NATS.
//
// A Bus holds two connections: one sends each message at once (requests, tokens, cancels), the other batches for
// up to a millisecond (high-rate events), because one connection cannot do both well: sending at once costs
// throughput five times over, batching costs a request its latency. Order is kept within one Urgency only.
//
// Threads: every method may be called from any thread. Handlers run on the executor given to the constructor, one
// message after the other for one subscription. A message that does not parse is counted, logged and dropped, and so
// is an exception of a handler. Nothing waits for the servers but the constructor.
//
// Connections that break are made again with growing waits; subscriptions survive; what is published meanwhile
// is buffered up to a limit and then refused with an Error; requests under way fail with kUnavailable.
#pragma once

#include <google/protobuf/message_lite.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "mesh/error.h"

namespace bellwether::mesh {

enum class Urgency { kNow, kBatched };

template <class T>
concept ProtoMessage = std::is_base_of_v<google::protobuf::MessageLite, T>;

struct BusOptions {
  std::string url = "nats://127.0.0.1:4222";                  // or several, separated by commas
  std::string client_name;                                    // shown by the server's monitoring
  std::string credentials_file;                               // NATS .creds file; empty = none
  std::chrono::milliseconds connect_timeout{5000};            // for the first connection
  std::chrono::milliseconds reconnect_wait_min{50};           // doubles with every failure ...
  std::chrono::milliseconds reconnect_wait_max{2000};         // ... up to this, with jitter; tries never end
  int64_t reconnect_buffer_bytes_max = 8 * 1024 * 1024;       // published, not yet sent
  int64_t subscription_pending_bytes_max = 64 * 1024 * 1024;  // received, not yet handled; beyond it messages drop
};

// A message as it came: subject, payload, and where an answer goes (empty = nobody waits for one).
struct BusMessage {
  std::string subject;
  std::string reply_to;
  std::string data;
};

struct BusCounters {
  uint64_t published = 0;
  uint64_t received = 0;
  uint64_t malformed = 0;       // dropped because they did not parse
  uint64_t overflowed = 0;      // dropped because a handler was too slow
  uint64_t handler_errors = 0;  // exceptions that handlers threw
  uint64_t reconnects = 0;
};

// Ends its subscription when destroyed. After reset() or destruction on the executor's thread its handler is not
// called again. Movable.
class Subscription {
 public:
  struct State;
  Subscription() = default;
  explicit Subscription(std::shared_ptr<State> state);
  Subscription(Subscription&&) noexcept;
  Subscription& operator=(Subscription&&) noexcept;
  ~Subscription();
  void reset();

 private:
  std::shared_ptr<State> state_;
};

class Bus {
 public:
  // Connects. Throws Error{kUnavailable} naming the URL when no server answers within connect_timeout.
  // REQUIRES: the executor's context outlives the bus.
  Bus(boost::asio::any_io_executor executor, BusOptions options);
  ~Bus();
  Bus(const Bus&) = delete;
  Bus& operator=(const Bus&) = delete;

  // Throws Error: kResourceExhausted when the message is larger than the server takes or the reconnect buffer is full,
  // kInvalidArgument when the subject is none, kUnavailable after stop(). Does not wait for the server, except for room
  // in the buffer, shortly, while connected.
  template <ProtoMessage M>
  void publish(std::string_view subject, const M& message, Urgency urgency = Urgency::kNow) {
    publish_bytes(subject, message.SerializeAsString(), urgency);
  }

  // `handler(const M&, const BusMessage&)`. With a queue group, each message reaches one member of the group.
  template <ProtoMessage M, class Handler>
  [[nodiscard]] Subscription subscribe(std::string_view subject, Handler handler, std::string_view queue_group = {}) {
    return subscribe_bytes(subject, queue_group, [this, handler = std::move(handler)](const BusMessage& raw) mutable {
      M message;
      if (message.ParseFromString(raw.data)) {
        handler(std::as_const(message), raw);
      } else {
        count_malformed(raw);
      }
    });
  }

  // Publishes and waits for one answer. Throws Error: kUnavailable (nobody listens, or the connection is gone),
  // kDeadlineExceeded, kInternal (an answer that does not parse).
  template <ProtoMessage Reply, ProtoMessage Request>
  boost::asio::awaitable<Reply> request(std::string subject, const Request& message,
                                        std::chrono::milliseconds timeout) {
    return parse_reply<Reply>(request_bytes(std::move(subject), message.SerializeAsString(), timeout));
  }

  // Answers a message that somebody waits on; nothing happens when nobody does.
  template <ProtoMessage M>
  void respond(const BusMessage& to, const M& message) {
    if (!to.reply_to.empty()) publish_bytes(to.reply_to, message.SerializeAsString(), Urgency::kNow);
  }

  // Resolves when everything published so far has reached the server; false after `timeout`.
  boost::asio::awaitable<bool> flush(std::chrono::milliseconds timeout);

  // Stops receiving, hands out what has been received, sends what has been published, disconnects. May be called
  // twice; the second call does nothing. Never throws.
  boost::asio::awaitable<void> stop(std::chrono::milliseconds timeout = std::chrono::milliseconds(2000));

  [[nodiscard]] bool connected() const;
  [[nodiscard]] BusCounters counters() const;
  [[nodiscard]] int64_t payload_bytes_max() const;  // largest message the server takes

 private:
  class Impl;

  void publish_bytes(std::string_view subject, std::string data, Urgency urgency);
  Subscription subscribe_bytes(std::string_view subject, std::string_view queue_group,
                               std::function<void(const BusMessage&)> handler);
  boost::asio::awaitable<std::string> request_bytes(std::string subject, std::string data,
                                                    std::chrono::milliseconds timeout);
  void count_malformed(const BusMessage& message);

  template <ProtoMessage Reply>
  static boost::asio::awaitable<Reply> parse_reply(boost::asio::awaitable<std::string> pending) {
    const std::string data = co_await std::move(pending);
    Reply reply;
    if (!reply.ParseFromString(data)) throw Error(ErrorCode::kInternal, "malformed answer on the bus");
    co_return reply;
  }

  std::shared_ptr<Impl> impl_;
};

}  // namespace bellwether::mesh
