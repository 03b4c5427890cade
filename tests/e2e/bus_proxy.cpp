#include "e2e/bus_proxy.h"

#include <array>
#include <chrono>
#include <memory>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

namespace bellwether::e2e {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

constexpr std::chrono::milliseconds kLookAgain{5};
constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);

}  // namespace

BusProxy::BusProxy(const std::string& nats_url)
    : server_(asio::ip::address_v4::loopback(),
              static_cast<uint16_t>(std::stoi(nats_url.substr(nats_url.rfind(':') + 1)))),
      acceptor_(io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)) {
  asio::co_spawn(io_, accept(), asio::detached);
  thread_ = std::thread([this] { io_.run(); });
}

BusProxy::~BusProxy() {
  io_.stop();
  thread_.join();
}

std::string BusProxy::url() const {
  return "nats://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
}

asio::awaitable<void> BusProxy::accept() {
  for (;;) {
    auto client = std::make_shared<tcp::socket>(io_);
    auto server = std::make_shared<tcp::socket>(io_);
    const auto [refused] = co_await acceptor_.async_accept(*client, kTuple);
    if (refused) co_return;
    const auto [unreachable] = co_await server->async_connect(server_, kTuple);
    if (unreachable) continue;
    asio::co_spawn(io_, pump(client, server), asio::detached);
    asio::co_spawn(io_, pump(server, client), asio::detached);
  }
}

asio::awaitable<void> BusProxy::pump(std::shared_ptr<tcp::socket> from, std::shared_ptr<tcp::socket> to) {
  std::array<char, 16384> bytes;
  asio::steady_timer timer(io_);
  for (;;) {
    const auto [ended, count] = co_await from->async_read_some(asio::buffer(bytes), kTuple);
    while (cut_) {
      timer.expires_after(kLookAgain);
      co_await timer.async_wait(kTuple);
    }
    if (ended) break;
    const auto [broken, written] = co_await asio::async_write(*to, asio::buffer(bytes.data(), count), kTuple);
    if (broken) break;
  }
  boost::system::error_code ignored;
  from->close(ignored);
  to->close(ignored);
}

}  // namespace bellwether::e2e
