#include "mesh/http_connection.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <exception>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "mesh/address.h"
#include "mesh/log.h"

namespace bellwether::mesh {
namespace asio = boost::asio;
using asio::ip::tcp;
namespace {

constexpr size_t kReadBytes = 64 * 1024;
// What a client may send ahead while its request is handled. Beyond it nothing is read, and its leaving goes unnoticed
// until the next write.
constexpr size_t kReadAheadBytesMax = 64 * 1024;
// After a rejection the client's bytes are read and dropped for a while: closing with unread bytes would reset the
// connection, and the answer would be lost with it.
constexpr std::chrono::milliseconds kLingerTimeMax{2000};
constexpr int kKeepaliveIdleSeconds = 30;
constexpr int kKeepaliveIntervalSeconds = 10;

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);

void set_option(tcp::socket& socket, int level, int name, int value) {
  // Fails only for a socket that has just been reset, which the next read reports.
  (void)setsockopt(socket.native_handle(), level, name, &value, sizeof(value));
}

std::string remote_of(const tcp::socket& socket) {
  boost::system::error_code error;
  const tcp::endpoint endpoint = socket.remote_endpoint(error);
  if (error) return "unknown";
  return to_string(Address{endpoint.address().to_string(), endpoint.port()});
}

}  // namespace

// The exchange a handler sees. Lives in HttpConnection::answer().
class HttpConnection::Exchange final : public HttpExchange {
 public:
  Exchange(HttpConnection& connection, HttpRequest request, bool http_1_0)
      : connection_(connection), request_(std::move(request)), http_1_0_(http_1_0) {}

  [[nodiscard]] const HttpRequest& request() const override { return request_; }

  asio::awaitable<void> send(HttpResponse response) override {
    require(State::kNothingSent, "send");
    const std::string head = begin(response, http_wire::Framing::kLength);
    const bool no_body = request_.method == "HEAD" || http_wire::bodiless(response.status);
    const std::array<std::string_view, 2> parts = {head, no_body ? std::string_view() : response.body};
    co_await connection_.write(parts);
    state_ = State::kDone;
  }

  asio::awaitable<void> start_stream(HttpResponse head) override {
    require(State::kNothingSent, "start_stream");
    if (!head.body.empty()) throw std::logic_error("the head of a stream has no body");
    if (http_1_0_) connection_.keep_alive_ = false;
    const std::string text = begin(head, http_1_0_ ? http_wire::Framing::kClose : http_wire::Framing::kChunked);
    const std::array<std::string_view, 1> parts = {text};
    co_await connection_.write(parts);
    state_ = State::kStreaming;
  }

  asio::awaitable<void> write(std::string chunk) override {
    require(State::kStreaming, "write");
    if (chunk.empty() || request_.method == "HEAD") co_return;  // an empty chunk would end the body
    const std::string size = http_1_0_ ? std::string() : fmt::format("{:x}\r\n", chunk.size());
    const std::array<std::string_view, 3> parts = {size, chunk, http_1_0_ ? "" : "\r\n"};
    co_await connection_.write(parts);
  }

  asio::awaitable<void> end_stream() override {
    require(State::kStreaming, "end_stream");
    state_ = State::kDone;
    if (http_1_0_ || request_.method == "HEAD") co_return;
    constexpr std::array<std::string_view, 1> kLastChunk = {"0\r\n\r\n"};
    co_await connection_.write(kLastChunk);
  }

  [[nodiscard]] bool started() const override { return state_ != State::kNothingSent; }
  [[nodiscard]] bool finished() const { return state_ == State::kDone; }

  void on_client_gone(std::function<void()> callback) override {
    connection_.on_client_gone_ = std::move(callback);
    if (!connection_.ended_) return;
    asio::post(connection_.socket_.get_executor(),
               [connection = connection_.shared_from_this()] { connection->notify_client_gone(); });
  }
  [[nodiscard]] bool client_gone() const override { return connection_.ended_; }

 private:
  // kSending: the head may have gone out, nothing more may be sent.
  enum class State { kNothingSent, kSending, kStreaming, kDone };

  void require(State state, std::string_view call) const {
    if (state_ != state) throw std::logic_error(fmt::format("HttpExchange::{} is out of order", call));
  }

  std::string begin(const HttpResponse& response, http_wire::Framing framing) {
    const bool keep_alive = connection_.keep_alive_ && !connection_.finishing_;
    std::string head =
        http_wire::render_head(response, {.http_1_0 = http_1_0_, .keep_alive = keep_alive, .framing = framing});
    connection_.keep_alive_ = keep_alive;
    state_ = State::kSending;
    return head;
  }

  HttpConnection& connection_;
  const HttpRequest request_;
  const bool http_1_0_;
  State state_ = State::kNothingSent;
};

HttpConnection::HttpConnection(tcp::socket socket, HttpShared& shared)
    : socket_(std::move(socket)),
      shared_(shared),
      remote_(remote_of(socket_)),
      arrival_(socket_.get_executor()),
      write_timer_(socket_.get_executor()) {
  boost::system::error_code ignored;  // an error here returns at the first read
  socket_.non_blocking(true, ignored);
  set_option(socket_, IPPROTO_TCP, TCP_NODELAY, 1);
  // A client whose machine has vanished answers nothing: without these a stream to it would hang for a quarter of an
  // hour.
  set_option(socket_, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(socket_, IPPROTO_TCP, TCP_KEEPIDLE, kKeepaliveIdleSeconds);
  set_option(socket_, IPPROTO_TCP, TCP_KEEPINTVL, kKeepaliveIntervalSeconds);
  set_option(socket_, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(shared.limits.write_time_max.count()));
}

asio::awaitable<void> HttpConnection::run() {
  co_await until_the_end(serve_all());
}

asio::awaitable<void> HttpConnection::run_rejected(HttpRejection rejection) {
  co_await until_the_end(reject(std::move(rejection)));
}

asio::awaitable<void> HttpConnection::until_the_end(asio::awaitable<void> work) {
  try {
    co_await std::move(work);
  } catch (const ClientGone&) {
  } catch (const std::exception& error) {
    log::error("http connection failed", {{"remote", remote_}, {"error", error.what()}});
  }
  hold_body(0);
  abort();
}

asio::awaitable<void> HttpConnection::serve_all() {
  while (co_await request_begins()) {
    busy_ = true;
    co_await serve();
    busy_ = false;
    if (!keep_alive_ || finishing_) break;
  }
}

void HttpConnection::finish() {
  finishing_ = true;
  if (!busy_) abort();
}

void HttpConnection::abort() {
  boost::system::error_code ignored;
  socket_.close(ignored);
  write_timer_.cancel();
  end_of_input();
}

// True when the first byte of a request is there.
asio::awaitable<bool> HttpConnection::request_begins() {
  const TimePoint deadline = steady_now() + shared_.limits.idle_time_max;
  while (!ended_) {
    // RFC 9112, 2.2: empty lines before a request are ignored.
    buffer_.erase(0, std::min(buffer_.find_first_not_of("\r\n"), buffer_.size()));
    if (!buffer_.empty()) co_return true;
    buffer_.shrink_to_fit();  // thousands of connections may be idle
    if (co_await more_bytes(deadline) != Arrival::kBytes) break;
  }
  co_return false;
}

asio::awaitable<void> HttpConnection::serve() {
  std::optional<HttpRequest> request;
  std::optional<HttpRejection> rejection;
  try {
    request = co_await read_request();
  } catch (HttpRejection& reason) {
    rejection = std::move(reason);
    hold_body(0);
  }
  if (rejection) {
    co_await reject(*std::move(rejection));
  } else {
    co_await answer(*std::move(request));
  }
  hold_body(0);
}

asio::awaitable<HttpRequest> HttpConnection::read_request() {
  HttpParser parser(shared_.limits.header_bytes_max, shared_.limits.body_bytes_max);
  const TimePoint deadline = steady_now() + shared_.limits.request_time_max;
  bool continued = false;
  for (;;) {
    while (!buffer_.empty() && !parser.done()) {
      const size_t consumed = parser.feed(buffer_);
      if (consumed == 0) break;
      buffer_.erase(0, consumed);
      hold_body(parser.body_bytes());
      if (body_bytes_ > 0 && shared_.bodies_bytes > shared_.limits.bodies_bytes_max) {
        throw HttpRejection{503, "too many bytes of requests in progress"};
      }
    }
    if (parser.done()) break;
    if (parser.expects_continue() && !continued && buffer_.empty()) {
      continued = true;
      constexpr std::array<std::string_view, 1> kContinue = {"HTTP/1.1 100 Continue\r\n\r\n"};
      co_await write(kContinue);
    }
    const Arrival arrival = co_await more_bytes(deadline);
    if (arrival == Arrival::kEnd) throw ClientGone{};
    if (arrival == Arrival::kTimeout) throw HttpRejection{408, "the request did not arrive in time"};
  }
  keep_alive_ = parser.keep_alive();
  http_1_0_ = parser.http_1_0();
  HttpRequest request = parser.take();
  request.remote = remote_;
  co_return request;
}

void HttpConnection::hold_body(uint64_t bytes) {
  shared_.bodies_bytes += bytes - body_bytes_;
  body_bytes_ = bytes;
}

asio::awaitable<void> HttpConnection::answer(HttpRequest request) {
  Exchange exchange(*this, std::move(request), http_1_0_);
  std::optional<std::string> failure;
  handling_ = true;
  wait_readable();
  try {
    co_await shared_.dispatch(exchange);
    if (!exchange.finished()) failure = "the handler did not complete its answer";
  } catch (const ClientGone&) {
  } catch (const std::exception& error) {
    failure = error.what();
  } catch (...) {
    failure = "unknown exception";
  }
  handling_ = false;
  on_client_gone_ = nullptr;
  if (failure && !ended_) {
    log::error("http handler failed",
               {{"method", exchange.request().method}, {"path", exchange.request().path}, {"error", *failure}});
    if (!exchange.started()) {
      HttpResponse response{.status = 500, .body = http_error_body(500, "internal error")};
      co_await exchange.send(std::move(response));
    }
  }
  // A body without its end tells the client that something is missing.
  if (!exchange.finished()) keep_alive_ = false;
}

asio::awaitable<void> HttpConnection::reject(HttpRejection rejection) {
  keep_alive_ = false;
  HttpResponse response{.status = rejection.status, .body = http_error_body(rejection.status, rejection.message)};
  if (rejection.status == 503) response.headers.emplace_back("Retry-After", "1");
  const std::string head = http_wire::render_head(response, {.keep_alive = false});
  const std::array<std::string_view, 2> parts = {head, response.body};
  co_await write(parts);
  co_await linger();
}

asio::awaitable<void> HttpConnection::linger() {
  boost::system::error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  busy_ = false;  // finish() need not wait for this
  const TimePoint deadline = steady_now() + kLingerTimeMax;
  do {
    buffer_.clear();
  } while (co_await more_bytes(deadline) == Arrival::kBytes);
}

asio::awaitable<HttpConnection::Arrival> HttpConnection::more_bytes(TimePoint deadline) {
  const size_t had = buffer_.size();
  for (;;) {
    if (buffer_.size() > had) co_return Arrival::kBytes;
    if (ended_) co_return Arrival::kEnd;
    if (steady_now() >= deadline) co_return Arrival::kTimeout;
    wait_readable();
    arrival_.expires_at(deadline);
    co_await arrival_.async_wait(kNoThrow);
  }
}

void HttpConnection::wait_readable() {
  if (waiting_ || ended_) return;
  waiting_ = true;
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](const boost::system::error_code& error) {
    self->waiting_ = false;
    if (error) {
      self->end_of_input();
    } else {
      self->read_available();
    }
  });
}

void HttpConnection::read_available() {
  if (handling_ && buffer_.size() >= kReadAheadBytesMax) return;
  std::array<char, kReadBytes> bytes;
  boost::system::error_code error;
  const size_t count = socket_.read_some(asio::buffer(bytes), error);
  if (error && error != asio::error::would_block) return end_of_input();
  buffer_.append(bytes.data(), count);
  arrival_.cancel();
  if (handling_) wait_readable();
}

void HttpConnection::end_of_input() {
  ended_ = true;
  arrival_.cancel();
  notify_client_gone();
}

void HttpConnection::notify_client_gone() {
  const std::function<void()> callback = std::exchange(on_client_gone_, nullptr);
  if (!callback) return;
  try {
    callback();
  } catch (const std::exception& error) {
    log::error("on_client_gone failed", {{"remote", remote_}, {"error", error.what()}});
  }
}

asio::awaitable<void> HttpConnection::write(std::span<const std::string_view> parts) {
  if (ended_) throw ClientGone{};
  std::vector<asio::const_buffer> buffers;
  for (const std::string_view part : parts) buffers.emplace_back(part.data(), part.size());
  writing_ = true;
  write_deadline_ = steady_now() + shared_.limits.write_time_max;
  watch_write();
  const auto [error, count] = co_await asio::async_write(socket_, buffers, kNoThrow);
  writing_ = false;
  if (!error) co_return;
  end_of_input();
  throw ClientGone{};
}

// One pending wait for all writes, so that a write of a stream costs no timer of its own.
void HttpConnection::watch_write() {
  if (write_watched_) return;
  write_watched_ = true;
  write_timer_.expires_at(write_deadline_);
  write_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    self->write_watched_ = false;
    if (error || !self->writing_) return;
    if (steady_now() < self->write_deadline_) return self->watch_write();
    log::warning("http client takes no bytes", {{"remote", self->remote_}});
    self->abort();
  });
}

}  // namespace bellwether::mesh
