// The way to the NATS servers: two connections and all calls of the NATS library, on a thread of their own. Internal to
// the bus.
//
// Why a thread: the library writes to its socket, connects and drains under a lock that its other calls wait for, so
// that a server which stops reading would stop whoever publishes. Here the caller only appends to a bounded queue.
// Why connections are made again here and not by the library: the library gives up for good on several errors of a
// server (refused credentials, a garbled stream), connects under that same lock, and cannot be told that a connection
// whose write timed out is of no more use. Here there is one answer to all of it: both connections are made anew.
//
// Threads: every method may be called from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "mesh/bus.h"
#include "mesh/clock.h"

namespace bellwether::mesh {

class NatsLink {
 public:
  // Called on a library thread for each message. It must not block.
  using Receive = std::function<void(BusMessage message, bool no_responders)>;

  // Connects, as the Bus does. `lost` is called on the link's thread when the connections are gone.
  NatsLink(const BusOptions& options, std::function<void()> lost);
  ~NatsLink();  // as end()
  NatsLink(const NatsLink&) = delete;
  NatsLink& operator=(const NatsLink&) = delete;

  // Throws Error{kResourceExhausted}: too large, or too much is waiting to be sent; {kUnavailable}: closed.
  void publish(Urgency urgency, std::string subject, std::string reply_to, std::string data);

  // The subscription survives the connection. After unsubscribe(), `receive` may still be running, once.
  uint64_t subscribe(std::string subject, std::string queue_group, Receive receive);
  void unsubscribe(uint64_t id);

  // All three call `done` on the link's thread, or never when the link closes first. What was asked for before them
  // is done before them.
  void flush(TimePoint deadline, std::function<void(bool reached)> done);
  // Ends all subscriptions after what the server had sent has been received.
  void drain(TimePoint deadline, std::function<void()> done);
  // Sends what is queued and disconnects. REQUIRES: called once.
  void close(TimePoint deadline, std::function<void()> done);

  // Closes with a short deadline if close() was not called, and waits for it. `lost` and `done` are not called
  // afterwards.
  void end();

  [[nodiscard]] bool connected() const;
  [[nodiscard]] int64_t payload_bytes_max() const;
  [[nodiscard]] uint64_t published() const;
  [[nodiscard]] uint64_t reconnects() const;

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

// How long to wait before try `attempt` (0, 1, ...) to connect again: doubling from the least to the most, and of that
// a random part, at least half, so that the clients of a restarted server do not come all at once. `random` is in [0,
// 1).
[[nodiscard]] std::chrono::milliseconds reconnect_wait(int attempt, const BusOptions& options, double random);

}  // namespace bellwether::mesh
