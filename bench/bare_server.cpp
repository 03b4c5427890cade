#include "bare_server.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>

namespace bellwether::bench {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);

std::string chunk_of(const std::string& text) {
  return fmt::format("{:x}\r\n{}\r\n", text.size(), text);
}

asio::awaitable<void> serve(tcp::socket socket, int events, const std::string& event) {
  socket.set_option(tcp::no_delay(true));
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string chunk = chunk_of(event);
  const std::string last = chunk_of("data: [DONE]\n\n") + "0\r\n\r\n";
  boost::beast::flat_buffer buffer;
  for (;;) {
    http::request<http::string_body> request;
    const auto [error, count] = co_await http::async_read(socket, buffer, request, kNoThrow);
    if (error) co_return;
    co_await asio::async_write(socket, asio::buffer(head), kNoThrow);
    for (int i = 0; i < events; ++i) co_await asio::async_write(socket, asio::buffer(chunk), kNoThrow);
    co_await asio::async_write(socket, asio::buffer(last), kNoThrow);
  }
}

asio::awaitable<void> accept(tcp::acceptor& acceptor, int events, const std::string& event) {
  for (;;) {
    auto [error, socket] = co_await acceptor.async_accept(kNoThrow);
    if (error) co_return;
    asio::co_spawn(acceptor.get_executor(), serve(std::move(socket), events, event), asio::detached);
  }
}

}  // namespace

// The port is taken here and the child inherits it, so that clients may connect at once.
BareServer::BareServer(int events, std::string event) {
  asio::io_context io(1);
  tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  address_ = fmt::format("127.0.0.1:{}", acceptor.local_endpoint().port());
  acceptor.listen(4096);
  io.notify_fork(asio::io_context::fork_prepare);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("cannot fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    io.notify_fork(asio::io_context::fork_child);
    asio::co_spawn(io, accept(acceptor, events, event), asio::detached);
    io.run();
    ::_exit(0);
  }
  io.notify_fork(asio::io_context::fork_parent);
}

BareServer::~BareServer() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

}  // namespace bellwether::bench
