// Bytes of a client: the parser must not care how they are cut into pieces, and a connection must end with its client.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "mesh/http_connection.h"
#include "mesh/http_parser.h"

namespace {

namespace asio = boost::asio;
using bellwether::mesh::HttpConnection;
using bellwether::mesh::HttpExchange;
using bellwether::mesh::HttpParser;
using bellwether::mesh::HttpRejection;
using bellwether::mesh::HttpRequest;
using bellwether::mesh::HttpResponse;
using bellwether::mesh::HttpShared;

// Above every input, because where the header's limit is noticed does depend on the pieces.
constexpr size_t kInputBytesMax = 4000;
constexpr uint64_t kHeaderBytesMax = 5000;
constexpr uint64_t kBodyBytesMax = 100;

// The first request, or the status it is rejected with, and what is left behind it, as one text to compare.
std::string outcome(std::string_view bytes, size_t step) {
  HttpParser parser(kHeaderBytesMax, kBodyBytesMax);
  std::string buffer;
  try {
    while (!parser.done()) {
      if (bytes.empty()) return "incomplete";
      buffer += bytes.substr(0, step);
      bytes.remove_prefix(std::min(step, bytes.size()));
      while (!parser.done() && !buffer.empty()) {
        const size_t consumed = parser.feed(buffer);
        if (consumed == 0) break;
        buffer.erase(0, consumed);
      }
    }
  } catch (const HttpRejection& rejection) {
    return std::to_string(rejection.status);
  }
  const HttpRequest request = parser.take();
  std::string text = request.method + "\n" + request.path + "\n" + request.query + "\n";
  for (const auto& [name, value] : request.headers) text += name + ":" + value + "\n";
  return text + request.body + "\n" + buffer + std::string(bytes);
}

// Pieces may put off a rejection: Beast looks again when an empty line has come.
bool agree(const std::string& left, const std::string& right) {
  constexpr std::string_view kIncomplete = "incomplete";
  constexpr size_t kStatusDigits = 3;
  return left == right || (left == kIncomplete && right.size() == kStatusDigits) ||
         (right == kIncomplete && left.size() == kStatusDigits);
}

asio::awaitable<void> answer(HttpExchange& exchange) {
  if (exchange.request().method == "GET") {
    HttpResponse head;
    co_await exchange.start_stream(std::move(head));
    co_await exchange.write(exchange.request().path);
    co_await exchange.end_stream();
  } else {
    HttpResponse response{.body = exchange.request().body};
    co_await exchange.send(std::move(response));
  }
}

void serve(std::string_view bytes) {
  HttpShared shared{.limits = {.header_bytes_max = kHeaderBytesMax, .body_bytes_max = kBodyBytesMax},
                    .dispatch = answer};
  std::array<int, 2> ends;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
  asio::io_context io;
  asio::ip::tcp::socket socket(io);
  socket.assign(asio::ip::tcp::v4(), ends[0]);
  auto connection = std::make_shared<HttpConnection>(std::move(socket), shared);
  bool ended = false;
  asio::co_spawn(io, connection->run(), [connection, &ended](const std::exception_ptr& error) {
    if (error) std::abort();
    ended = true;
  });
  const std::weak_ptr<HttpConnection> watched = connection;
  connection.reset();
  if (::write(ends[1], bytes.data(), bytes.size()) < 0) std::abort();
  io.poll();
  close(ends[1]);
  io.restart();
  io.run();  // returns when nothing is pending: a connection that stayed would hang here
  if (!ended || !watched.expired() || shared.bodies_bytes != 0) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), std::min(size, kInputBytesMax));
  const std::string whole = outcome(bytes, kInputBytesMax);
  for (const size_t step : {size_t{1}, size_t{7}}) {
    if (!agree(outcome(bytes, step), whole)) std::abort();
  }
  serve(bytes);
  return 0;
}
