// A small HTTP/1.1 server on Boost.Beast with coroutines and limits on everything.
//
// What it answers by itself: 400 malformed, 404 and 405 no such route, 408 request_time_max, 413 body_bytes_max,
// 417 an Expect it does not know, 431 header_bytes_max, 500 a handler that threw, 501 a Transfer-Encoding other than
// chunked, 503 connections_max and bodies_bytes_max. After all of these but 404, 405 and 500 the connection closes.
// HEAD on a GET route runs the GET handler and sends no body. A client that half-closes its connection counts as gone.
//
// Threads: one HttpServer lives on one single-threaded executor; handlers run there as coroutines and must not block.
// Every error the server itself answers has OpenAI's shape (see http_error_body).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

namespace bellwether::mesh {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;  // upper case
  std::string path;    // percent-decoded, without the query
  std::string query;   // as sent, without '?'
  HttpHeaders headers;
  std::string body;
  std::string remote;  // HOST:PORT of the client

  // The first value of a header, "" when absent. Names compare without case.
  [[nodiscard]] std::string_view header(std::string_view name) const;
};

struct HttpResponse {
  unsigned status = 200;
  std::string body = {};
  std::string content_type = "application/json";
  HttpHeaders headers = {};
};

// {"error":{"message":...,"type":...,"param":...,"code":status}}; an empty param is null. `type` follows from the
// status:
//   401 authentication_error, 403 permission_error, 429 rate_limit_error, other 4xx invalid_request_error,
//   503 service_unavailable_error, other 5xx server_error
// REQUIRES: `message` and `param` are UTF-8.
[[nodiscard]] std::string http_error_body(unsigned status, std::string_view message, std::string_view param = {});

// Thrown by HttpExchange's writes when the client has gone. Handlers need not catch it.
struct ClientGone {};

// One request being answered. Either send() once, or start_stream(), write()..., end_stream().
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;

  [[nodiscard]] virtual const HttpRequest& request() const = 0;
  virtual boost::asio::awaitable<void> send(HttpResponse response) = 0;

  // A chunked body, each write sent at once. The headers go out with start_stream().
  virtual boost::asio::awaitable<void> start_stream(HttpResponse head) = 0;  // head.body must be empty
  virtual boost::asio::awaitable<void> write(std::string chunk) = 0;
  virtual boost::asio::awaitable<void> end_stream() = 0;
  [[nodiscard]] virtual bool started() const = 0;  // the status line has been sent

  // Called once, on the executor, if the client goes while the handler runs. A handler that waits for something other
  // than the client sets this to be woken.
  virtual void on_client_gone(std::function<void()> callback) = 0;
  [[nodiscard]] virtual bool client_gone() const = 0;
};

using HttpHandler = std::function<boost::asio::awaitable<void>(HttpExchange&)>;

struct HttpLimits {
  uint64_t header_bytes_max = 64 * 1024;
  uint64_t body_bytes_max = 32 * 1024 * 1024;
  uint64_t bodies_bytes_max = 1024 * 1024 * 1024;     // of all requests together; beyond it they are answered 503
  int connections_max = 4096;                         // beyond it a new connection is answered 503 and closed
  std::chrono::milliseconds idle_time_max{75000};     // between requests of one connection
  std::chrono::milliseconds request_time_max{30000};  // for a whole request to arrive, once it has begun
  std::chrono::milliseconds write_time_max{30000};    // for a client to take one write
};

class HttpServer {
 public:
  HttpServer(boost::asio::any_io_executor executor, HttpLimits limits);
  ~HttpServer();  // closes all sockets
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Exact path, or one that ends in "/*" for everything below it; of several such the longest. An unknown path is a
  // 404, a known path with another method a 405 with Allow. A handler that throws is a 500 (logged), or breaks the
  // stream off when it had begun. REQUIRES: before start().
  void route(std::string method, std::string path, HttpHandler handler);

  // Takes the address; clients that connect from now on wait for start(). `address` is HOST:PORT, HOST a name, an IPv4
  // address or an IPv6 address in brackets; port 0 takes a free one. Returns the address bound. Throws Error:
  // kInvalidArgument when it is no address, kUnavailable when it cannot be had.
  std::string bind(const std::string& address);
  // Serves. REQUIRES: bind() before.
  void start();
  // Both at once, for a server whose routes are complete.
  std::string listen(const std::string& address);

  [[nodiscard]] int connections() const;

  // Accepts no more, closes idle connections, lets running handlers finish for `grace`, then closes their sockets (they
  // see ClientGone) and waits a little for them to end. May be called twice. connections() is 0 afterwards unless a
  // handler ignores that its client has gone.
  boost::asio::awaitable<void> stop(std::chrono::milliseconds grace);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace bellwether::mesh
