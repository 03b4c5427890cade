// A TCP proxy before a nats-server, which can be cut as a network is: nothing is refused or closed, nothing gets
// through.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

namespace bellwether::e2e {

// Thread-safe.
class BusProxy {
 public:
  explicit BusProxy(const std::string& nats_url);  // nats://127.0.0.1:PORT
  ~BusProxy();
  BusProxy(const BusProxy&) = delete;
  BusProxy& operator=(const BusProxy&) = delete;

  [[nodiscard]] std::string url() const;

  // From now on what is sent stays where it is, until heal() lets it go on.
  void cut() { cut_ = true; }
  void heal() { cut_ = false; }

 private:
  using Socket = boost::asio::ip::tcp::socket;

  boost::asio::awaitable<void> accept();
  boost::asio::awaitable<void> pump(std::shared_ptr<Socket> from, std::shared_ptr<Socket> to);

  boost::asio::io_context io_;
  boost::asio::ip::tcp::endpoint server_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::atomic<bool> cut_ = false;
  std::thread thread_;
};

}  // namespace bellwether::e2e
