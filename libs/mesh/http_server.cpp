#include "mesh/http_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <map>
#include <set>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "mesh/address.h"
#include "mesh/clock.h"
#include "mesh/error.h"
#include "mesh/http_connection.h"
#include "mesh/log.h"

namespace bellwether::mesh {
namespace asio = boost::asio;
using asio::ip::tcp;
namespace {

// Connections beyond connections_max that are told so at the same time; further ones are closed without a word.
constexpr int kRefusedConnectionsMax = 64;
// After accept() failed, for want of file descriptors as a rule.
constexpr std::chrono::milliseconds kAcceptRetryWait{100};
// For handlers to end after their sockets were closed.
constexpr std::chrono::milliseconds kHandlerEndTimeMax{1000};

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);

}  // namespace

class HttpServer::Impl : public std::enable_shared_from_this<HttpServer::Impl> {
 public:
  Impl(asio::any_io_executor executor, HttpLimits limits) : executor_(executor), acceptor_(executor) {
    shared_.limits = limits;
    shared_.dispatch = [this](HttpExchange& exchange) { return dispatch(exchange); };
  }

  void route(std::string method, std::string path, HttpHandler handler) {
    routes_[std::move(path)][std::move(method)] = std::move(handler);
  }

  std::string bind(const std::string& address) {
    const Address parts = parse_address(address);
    try {
      tcp::resolver resolver(executor_);
      const tcp::endpoint endpoint =
          *resolver.resolve(parts.host, std::to_string(parts.port), tcp::resolver::passive).begin();
      acceptor_.open(endpoint.protocol());
      acceptor_.set_option(tcp::acceptor::reuse_address(true));
      acceptor_.bind(endpoint);
      acceptor_.listen();
      const tcp::endpoint bound = acceptor_.local_endpoint();
      return to_string(Address{bound.address().to_string(), bound.port()});
    } catch (const boost::system::system_error& error) {
      throw Error(ErrorCode::kUnavailable, fmt::format("cannot listen on {}: {}", address, error.code().message()));
    }
  }

  void start() {
    asio::co_spawn(executor_, accept_loop(shared_from_this()), [](const std::exception_ptr& error) {
      if (error) std::rethrow_exception(error);  // accept_loop() handles what can fail
    });
  }

  void close() {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    for (const auto& connection : copy_of_connections()) connection->abort();
  }

  asio::awaitable<void> stop(std::chrono::milliseconds grace) {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    for (const auto& connection : copy_of_connections()) connection->finish();
    if (co_await all_ended(steady_now() + grace)) co_return;
    log::warning("http requests cut off by the shutdown", {{"connections", connections_.size()}});
    close();
    if (co_await all_ended(steady_now() + kHandlerEndTimeMax)) co_return;
    log::error("http handlers do not end", {{"connections", connections_.size()}});
  }

  [[nodiscard]] int connections() const { return static_cast<int>(connections_.size()); }

 private:
  using Routes = std::map<std::string, std::map<std::string, HttpHandler, std::less<>>, std::less<>>;
  using Connections = std::set<std::shared_ptr<HttpConnection>>;

  // abort() and finish() run callbacks, which may end connections.
  [[nodiscard]] Connections copy_of_connections() const { return connections_; }

  static asio::awaitable<void> accept_loop(std::shared_ptr<Impl> self) {
    asio::steady_timer retry(self->executor_);
    while (self->acceptor_.is_open()) {
      auto [error, socket] = co_await self->acceptor_.async_accept(kNoThrow);
      if (!self->acceptor_.is_open()) break;
      if (!error) {
        self->serve(std::move(socket));
        continue;
      }
      log::warning("http accept failed", {{"error", error.message()}});
      retry.expires_after(kAcceptRetryWait);
      co_await retry.async_wait(kNoThrow);
    }
  }

  void serve(tcp::socket socket) {
    const int excess = connections() - shared_.limits.connections_max;
    if (excess >= kRefusedConnectionsMax) return;
    auto connection = std::make_shared<HttpConnection>(std::move(socket), shared_);
    connections_.insert(connection);
    auto served = excess < 0 ? connection->run() : connection->run_rejected({503, "too many connections"});
    asio::co_spawn(executor_, std::move(served),
                   [self = shared_from_this(), connection](const std::exception_ptr&) { self->end(connection); });
  }

  void end(const std::shared_ptr<HttpConnection>& connection) {
    connections_.erase(connection);
    if (!connections_.empty()) return;
    for (asio::steady_timer* timer : waiting_for_end_) timer->cancel();
  }

  // Waits until no connection is left; false when some are at `deadline`.
  asio::awaitable<bool> all_ended(TimePoint deadline) {
    asio::steady_timer timer(executor_);
    waiting_for_end_.insert(&timer);
    while (!connections_.empty() && steady_now() < deadline) {
      timer.expires_at(deadline);
      co_await timer.async_wait(kNoThrow);
    }
    waiting_for_end_.erase(&timer);
    co_return connections_.empty();
  }

  asio::awaitable<void> dispatch(HttpExchange& exchange) {
    const HttpRequest& request = exchange.request();
    const auto path = find_route(request.path);
    if (path == routes_.end()) {
      HttpResponse response{.status = 404, .body = http_error_body(404, "there is nothing at this path")};
      co_await exchange.send(std::move(response));
      co_return;
    }
    const auto& methods = path->second;
    auto handler = methods.find(request.method);
    if (handler == methods.end() && request.method == "HEAD") handler = methods.find("GET");
    if (handler != methods.end()) {
      co_await handler->second(exchange);
      co_return;
    }
    std::string allowed;
    for (const auto& [method, unused] : methods) {
      allowed += (allowed.empty() ? "" : ", ") + method + (method == "GET" ? ", HEAD" : "");
    }
    HttpResponse response{.status = 405, .body = http_error_body(405, "this path takes " + allowed + " only")};
    response.headers.emplace_back("Allow", std::move(allowed));
    co_await exchange.send(std::move(response));
  }

  [[nodiscard]] Routes::const_iterator find_route(std::string path) const {
    auto found = routes_.find(path);
    for (size_t end = path.size() - 1; found == routes_.end() && (end = path.rfind('/', end)) != std::string::npos;) {
      if (end + 1 < path.size()) found = routes_.find(path.substr(0, end) + "/*");
      if (end-- == 0) break;
    }
    return found;
  }

  const asio::any_io_executor executor_;
  HttpShared shared_;
  Routes routes_;
  tcp::acceptor acceptor_;
  Connections connections_;
  std::set<asio::steady_timer*> waiting_for_end_;  // of all_ended()
};

HttpServer::HttpServer(asio::any_io_executor executor, HttpLimits limits)
    : impl_(std::make_shared<Impl>(std::move(executor), limits)) {}
HttpServer::~HttpServer() {
  impl_->close();
}

void HttpServer::route(std::string method, std::string path, HttpHandler handler) {
  impl_->route(std::move(method), std::move(path), std::move(handler));
}

std::string HttpServer::bind(const std::string& address) {
  return impl_->bind(address);
}
void HttpServer::start() {
  impl_->start();
}

std::string HttpServer::listen(const std::string& address) {
  std::string bound = bind(address);
  start();
  return bound;
}

int HttpServer::connections() const {
  return impl_->connections();
}

asio::awaitable<void> HttpServer::stop(std::chrono::milliseconds grace) {
  return impl_->stop(grace);
}

}  // namespace bellwether::mesh
