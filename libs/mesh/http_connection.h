// One client's connection: requests one after the other, each read, handled and answered by a coroutine.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "mesh/clock.h"
#include "mesh/http_parser.h"
#include "mesh/http_server.h"
#include "mesh/http_wire.h"

namespace bellwether::mesh {

// What all connections of a server have in common. REQUIRES: outlives them.
struct HttpShared {
  HttpLimits limits;
  // Answers a complete request. Its exceptions are handled by the connection.
  std::function<boost::asio::awaitable<void>(HttpExchange&)> dispatch;
  uint64_t bodies_bytes = 0;  // held for requests that arrive or are handled
};

// Lives on one thread. Held by shared_ptr, because its pending read outlasts run().
//
// Reading: bytes come in through wait_readable() into buffer_, while a request is awaited and also while a handler
// runs. The latter is how a client that leaves is noticed; what a client sends ahead stays in the buffer for the next
// request.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(boost::asio::ip::tcp::socket socket, HttpShared& shared);

  // Serves until the client leaves, an error, or the end that finish() or abort() ask for. Never throws.
  boost::asio::awaitable<void> run();
  // Answers with `rejection` without reading anything, and closes. Never throws.
  boost::asio::awaitable<void> run_rejected(HttpRejection rejection);

  // Closes when the current request has been answered; at once when there is none.
  void finish();
  // Closes the socket now: a handler that runs learns that the client is gone.
  void abort();

 private:
  class Exchange;
  enum class Arrival { kBytes, kEnd, kTimeout };

  boost::asio::awaitable<void> until_the_end(boost::asio::awaitable<void> work);
  boost::asio::awaitable<void> serve_all();
  boost::asio::awaitable<bool> request_begins();
  boost::asio::awaitable<void> serve();
  boost::asio::awaitable<HttpRequest> read_request();
  void hold_body(uint64_t bytes);
  boost::asio::awaitable<void> answer(HttpRequest request);
  boost::asio::awaitable<void> reject(HttpRejection rejection);
  boost::asio::awaitable<void> linger();

  // Waits until the buffer holds more than it does now.
  boost::asio::awaitable<Arrival> more_bytes(TimePoint deadline);
  void wait_readable();
  void read_available();
  void end_of_input();
  void notify_client_gone();

  // Sends all of `parts`, or throws ClientGone.
  boost::asio::awaitable<void> write(std::span<const std::string_view> parts);
  void watch_write();

  boost::asio::ip::tcp::socket socket_;
  HttpShared& shared_;
  std::string remote_;

  std::string buffer_;                 // received, not yet parsed
  bool waiting_ = false;               // for the socket to become readable
  bool ended_ = false;                 // the client has sent its last byte, or the socket is closed
  boost::asio::steady_timer arrival_;  // its cancellation wakes more_bytes()

  bool busy_ = false;       // a request is being read or answered
  bool handling_ = false;   // a handler runs
  bool finishing_ = false;  // no request after this one
  bool keep_alive_ = true;
  bool http_1_0_ = false;
  uint64_t body_bytes_ = 0;  // this connection's part of shared_.bodies_bytes
  std::function<void()> on_client_gone_;

  bool writing_ = false;
  TimePoint write_deadline_;
  bool write_watched_ = false;
  boost::asio::steady_timer write_timer_;
};

}  // namespace bellwether::mesh
