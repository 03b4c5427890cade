#include "mesh/http_post.h"

#include <cstdint>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

namespace bellwether::mesh {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace {

constexpr uint64_t kAnswerBytesMax = 1 << 20;

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);

HttpPostResult failed(const char* what, const beast::error_code& error) {
  return {.error = std::string(what) + ": " + error.message()};
}

}  // namespace

asio::awaitable<HttpPostResult> http_post(asio::any_io_executor executor, Address address, std::string path,
                                          std::string body, std::string content_type,
                                          std::chrono::milliseconds time_max) {
  asio::ip::tcp::resolver resolver(executor);
  const auto [unresolved, endpoints] =
      co_await resolver.async_resolve(address.host, std::to_string(address.port), kNoThrow);
  if (unresolved) co_return failed("resolve", unresolved);
  beast::tcp_stream stream(executor);
  stream.expires_after(time_max);
  const auto [refused, endpoint] = co_await stream.async_connect(endpoints, kNoThrow);
  if (refused) co_return failed("connect", refused);
  http::request<http::string_body> request(http::verb::post, path, 11);
  request.set(http::field::host, to_string(address));
  request.set(http::field::content_type, content_type);
  request.set(http::field::connection, "close");
  request.body() = std::move(body);
  request.prepare_payload();
  const auto [unsent, sent] = co_await http::async_write(stream, request, kNoThrow);
  if (unsent) co_return failed("write", unsent);
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> response;
  response.body_limit(kAnswerBytesMax);
  const auto [unread, read] = co_await http::async_read(stream, buffer, response, kNoThrow);
  if (unread) co_return failed("read", unread);
  co_return HttpPostResult{.status = response.get().result_int()};
}

}  // namespace bellwether::mesh
