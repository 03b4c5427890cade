#include "mesh/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/json/parse.hpp>

#include "mesh/error.h"
#include "mesh/http_client.h"

namespace bellwether::mesh {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using bellwether::testing::Answer;
using bellwether::testing::RawClient;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kPatience = 20s;  // what should happen, happens much sooner

// Wakes all who wait for it, once and for ever. Lives on one thread.
class Signal {
 public:
  explicit Signal(asio::any_io_executor executor)
      : timer_(std::move(executor), asio::steady_timer::time_point::max()) {}
  void set() {
    set_ = true;
    timer_.cancel();
  }
  asio::awaitable<void> wait() {
    while (!set_) co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
  }

 private:
  bool set_ = false;
  asio::steady_timer timer_;
};

HttpLimits small_limits() {
  HttpLimits limits;
  limits.header_bytes_max = 4096;
  limits.body_bytes_max = 10000;
  limits.connections_max = 4;
  return limits;
}

// A server on a thread of its own, with handlers that tests steer.
class HttpServerTest : public ::testing::Test {
 protected:
  void start(HttpLimits limits) {
    server_ = std::make_unique<HttpServer>(io_.get_executor(), limits);
    gate_ = std::make_unique<Signal>(io_.get_executor());
    add_routes();
    address_ = server_->listen("127.0.0.1:0");
    thread_ = std::thread([this] { io_.run(); });
  }
  void SetUp() override { start(small_limits()); }
  void TearDown() override {
    on_server([this] { server_.reset(); });
    work_.reset();
    thread_.join();
  }
  void restart(HttpLimits limits) {
    TearDown();
    io_.restart();
    work_ = std::make_unique<Work>(io_.get_executor());
    start(limits);
  }

  void add_routes() {
    server_->route("GET", "/hello", [](HttpExchange& exchange) -> asio::awaitable<void> {
      HttpResponse response{.body = R"({"hello":"world"})"};
      co_await exchange.send(std::move(response));
    });
    server_->route("POST", "/echo", [](HttpExchange& exchange) -> asio::awaitable<void> {
      const HttpRequest& request = exchange.request();
      HttpResponse response{.body = request.body, .content_type = "text/plain"};
      response.headers.emplace_back("X-Query", request.query);
      response.headers.emplace_back("X-Seen", std::string(request.header("x-SENT")));
      response.headers.emplace_back("X-Remote", request.remote);
      co_await exchange.send(std::move(response));
    });
    server_->route("GET", "/stream", [](HttpExchange& exchange) -> asio::awaitable<void> {
      HttpResponse head{.content_type = "text/event-stream"};
      co_await exchange.start_stream(std::move(head));
      for (const char* piece : {"one ", "", "two ", "three"}) co_await exchange.write(piece);
      co_await exchange.end_stream();
    });
    // Begins a stream and ends it when the gate opens or the client leaves.
    server_->route("GET", "/gated", [this](HttpExchange& exchange) { return gated(exchange); });
    server_->route("GET", "/endless", [this](HttpExchange& exchange) { return endless(exchange); });
    // Answers when the gate opens, whatever the client does.
    server_->route("GET", "/late", [this](HttpExchange& exchange) { return late(exchange); });
    server_->route("POST", "/late", [this](HttpExchange& exchange) { return late(exchange); });
    // Hears that its client has gone and stays.
    server_->route("GET", "/deaf", [this](HttpExchange& exchange) {
      exchange.on_client_gone([this] {
        if (++times_told_ == 1) client_gone_.set_value();
      });
      return late(exchange);
    });
    server_->route("GET", "/throw", [](HttpExchange&) -> asio::awaitable<void> {
      throw std::runtime_error("secret");
      co_return;
    });
    server_->route("GET", "/throw-late", [](HttpExchange& exchange) -> asio::awaitable<void> {
      HttpResponse head;
      co_await exchange.start_stream(std::move(head));
      co_await exchange.write("part");
      throw std::runtime_error("secret");
    });
    server_->route("GET", "/silent", [](HttpExchange&) -> asio::awaitable<void> { co_return; });
    server_->route("GET", "/split", [](HttpExchange& exchange) -> asio::awaitable<void> {
      HttpResponse response{.headers = {{"X-Bad", "a\r\nX-Injected: b"}}};
      co_await exchange.send(std::move(response));
    });
    server_->route("DELETE", "/nothing", [](HttpExchange& exchange) -> asio::awaitable<void> {
      HttpResponse response{.status = 204};
      co_await exchange.send(std::move(response));
    });
  }

  asio::awaitable<void> late(HttpExchange& exchange) {
    handlers_begun_.set_value();
    co_await gate_->wait();
    HttpResponse response{.body = "late"};
    co_await exchange.send(std::move(response));
  }

  asio::awaitable<void> gated(HttpExchange& exchange) {
    exchange.on_client_gone([this] {
      client_gone_.set_value();
      gate_->set();
    });
    HttpResponse head;
    co_await exchange.start_stream(std::move(head));
    co_await exchange.write("begun ");
    co_await gate_->wait();
    client_seen_gone_ = exchange.client_gone();
    co_await exchange.write("done");
    co_await exchange.end_stream();
  }

  asio::awaitable<void> endless(HttpExchange& exchange) {
    HttpResponse head;
    co_await exchange.start_stream(std::move(head));
    try {
      for (;;) co_await exchange.write(std::string(1 << 20, 'x'));
    } catch (const ClientGone&) {
      client_gone_.set_value();
      throw;
    }
  }

  void on_server(const std::function<void()>& task) {
    std::promise<void> done;
    asio::post(io_, [&] {
      task();
      done.set_value();
    });
    done.get_future().get();
  }
  void open_gate() {
    on_server([this] { gate_->set(); });
  }
  std::future<void> stop(std::chrono::milliseconds grace) {
    return asio::co_spawn(io_, server_->stop(grace), asio::use_future);
  }
  int connections() {
    int count = 0;
    on_server([&] { count = server_->connections(); });
    return count;
  }
  // Polls, because nothing tells when the server has noticed an end.
  bool comes_to(int count) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (connections() != count && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(1ms);
    return connections() == count;
  }
  static bool within_patience(std::promise<void>& event) {
    return event.get_future().wait_for(kPatience) == std::future_status::ready;
  }
  Answer get(const std::string& path) {
    RawClient client(address_);
    client.request("GET", path);
    return client.read_answer();
  }

  using Work = asio::executor_work_guard<asio::io_context::executor_type>;
  asio::io_context io_{1};
  std::unique_ptr<Work> work_ = std::make_unique<Work>(io_.get_executor());
  std::unique_ptr<HttpServer> server_;
  std::unique_ptr<Signal> gate_;
  std::string address_;
  std::thread thread_;
  std::promise<void> client_gone_;
  std::promise<void> handlers_begun_;
  bool client_seen_gone_ = false;
  int times_told_ = 0;
};

void expect_error(const Answer& answer, unsigned status, const std::string& type) {
  EXPECT_EQ(answer.status, status) << answer.head;
  const auto error = boost::json::parse(answer.body).at("error").as_object();
  EXPECT_EQ(error.at("type").as_string(), type);
  EXPECT_EQ(error.at("code").to_number<unsigned>(), status);
  EXPECT_TRUE(error.at("param").is_null());
  EXPECT_FALSE(error.at("message").as_string().empty());
}

TEST(HttpErrorBody, HasTheShapeOfOpenAI) {
  EXPECT_EQ(http_error_body(400, "no \"x\"", "messages[0]"),
            R"({"error":{"message":"no \"x\"","type":"invalid_request_error","param":"messages[0]","code":400}})");
  EXPECT_THAT(http_error_body(401, "m"), HasSubstr(R"("type":"authentication_error","param":null)"));
  EXPECT_THAT(http_error_body(403, "m"), HasSubstr("permission_error"));
  EXPECT_THAT(http_error_body(429, "m"), HasSubstr("rate_limit_error"));
  EXPECT_THAT(http_error_body(500, "m"), HasSubstr("server_error"));
  EXPECT_THAT(http_error_body(503, "m"), HasSubstr("service_unavailable_error"));
}

TEST_F(HttpServerTest, AnswersAndKeepsTheConnection) {
  RawClient client(address_);
  for (int i = 0; i < 3; ++i) {
    client.request("GET", "/hello?q=1");
    const Answer answer = client.read_answer();
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(answer.has("HTTP/1.1 200 OK\r\n"));
    EXPECT_TRUE(answer.has("Content-Type: application/json\r\n"));
    EXPECT_TRUE(answer.has("\r\nDate: "));
    EXPECT_FALSE(answer.has("Connection:"));
    EXPECT_EQ(answer.body, R"({"hello":"world"})");
  }
  EXPECT_EQ(connections(), 1);
}

TEST_F(HttpServerTest, ShowsTheRequestToItsHandler) {
  RawClient client(address_);
  client.send("post /%65cho?a=%20b HTTP/1.1\r\nhost: h\r\nX-Sent: 1\r\nX-Sent: 2\r\ncontent-length: 5\r\n\r\nhello");
  const Answer answer = client.read_answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "hello");
  EXPECT_TRUE(answer.has("X-Query: a=%20b\r\n"));
  EXPECT_TRUE(answer.has("X-Seen: 1\r\n"));
  EXPECT_TRUE(answer.has("X-Remote: 127.0.0.1:"));
  EXPECT_TRUE(answer.has("Content-Type: text/plain\r\n"));
}

TEST_F(HttpServerTest, TakesPipelinedRequestsInOrder) {
  RawClient client(address_);
  std::string requests;
  for (int i = 0; i < 50; ++i) {
    const std::string body = std::to_string(i);
    requests += "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  client.send(requests);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(client.read_answer().body, std::to_string(i));
}

TEST_F(HttpServerTest, KeepsWhatIsSentWhileAHandlerRuns) {
  RawClient client(address_);
  client.request("GET", "/late");
  ASSERT_TRUE(within_patience(handlers_begun_));
  // More than is read ahead, so that reading pauses and must be taken up again.
  const std::string body(9000, 'b');
  for (int i = 0; i < 20; ++i) client.request("POST", "/echo", body);
  open_gate();
  EXPECT_EQ(client.read_answer().body, "late");
  for (int i = 0; i < 20; ++i) EXPECT_EQ(client.read_answer().body, body);
}

TEST_F(HttpServerTest, TakesChunkedBodies) {
  RawClient client(address_);
  client.send(
      "POST /echo HTTP/1.1\r\nHost: h\r\nX-Sent: header\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5;extension=1\r\nhello\r\n");
  client.send("1\r\n \r\n5\r\nworld\r\n0\r\nX-Trailer: t\r\n\r\n");
  const Answer answer = client.read_answer();
  EXPECT_EQ(answer.body, "hello world");
  client.request("GET", "/hello");
  EXPECT_EQ(client.read_answer().status, 200);
}

TEST_F(HttpServerTest, ATrailerIsNoHeader) {
  RawClient client(address_);
  client.send("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sent: trailer\r\n\r\n");
  EXPECT_TRUE(client.read_answer().has("X-Seen: \r\n"));
}

TEST_F(HttpServerTest, SendsContinueOnlyToWhoWaitsForIt) {
  RawClient client(address_);
  client.send("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.read_through("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("ok");
  EXPECT_EQ(client.read_answer().body, "ok");
  client.send("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok");
  EXPECT_EQ(client.read_answer().status, 200);
  client.send("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 10001\r\n\r\n");
  expect_error(client.read_answer(), 413, "invalid_request_error");
}

TEST_F(HttpServerTest, RoutesByPathAndMethod) {
  expect_error(get("/nowhere"), 404, "invalid_request_error");
  expect_error(get("/hello/"), 404, "invalid_request_error");
  RawClient client(address_);
  client.request("POST", "/hello");
  Answer answer = client.read_answer();
  expect_error(answer, 405, "invalid_request_error");
  EXPECT_TRUE(answer.has("Allow: GET, HEAD\r\n"));
  client.request("DELETE", "/nothing");
  answer = client.read_answer();
  EXPECT_EQ(answer.status, 204);
  EXPECT_FALSE(answer.has("Content-Length"));
  client.send("GET http://other.example/hello HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(client.read_answer().status, 200);
}

TEST_F(HttpServerTest, AnswersHeadWithoutABody) {
  RawClient client(address_);
  for (const char* path : {"/hello", "/stream"}) {
    client.request("HEAD", path);
    EXPECT_EQ(client.read_answer(true).status, 200);
  }
  client.request("HEAD", "/hello");
  EXPECT_TRUE(client.read_answer(true).has("Content-Length: 17\r\n"));
  client.request("HEAD", "/echo");
  EXPECT_EQ(client.read_answer(true).status, 405);
  client.request("GET", "/hello");
  EXPECT_EQ(client.read_answer().body, R"({"hello":"world"})");
}

TEST_F(HttpServerTest, StreamsInChunks) {
  RawClient client(address_);
  client.request("GET", "/stream");
  const std::string head = client.read_through("\r\n\r\n");
  EXPECT_THAT(head, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(head, HasSubstr("Content-Type: text/event-stream\r\n"));
  for (const char* piece : {"one ", "two ", "three", ""}) EXPECT_EQ(client.read_chunk(), piece);
  client.request("GET", "/hello");
  EXPECT_EQ(client.read_answer().status, 200);
}

TEST_F(HttpServerTest, SpeaksHttp10) {
  RawClient client(address_);
  client.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_TRUE(client.read_answer().has("Connection: keep-alive\r\n"));
  client.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const Answer answer = client.read_answer();
  EXPECT_TRUE(answer.has("Connection: close\r\n"));
  EXPECT_FALSE(answer.has("Transfer-Encoding"));
  EXPECT_EQ(answer.body, "one two three");
  RawClient plain(address_);
  plain.send("GET /hello HTTP/1.0\r\n\r\n");
  EXPECT_THAT(plain.read_to_end(), HasSubstr("Connection: close\r\n"));
}

TEST_F(HttpServerTest, ClosesWhenAsked) {
  RawClient client(address_);
  client.send("GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.read_to_end(), HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(comes_to(0));
}

TEST_F(HttpServerTest, RejectsMalformedRequestsAndCloses) {
  const std::string host = "Host: h\r\n";
  for (const std::string& request : {
           "nonsense\r\n\r\n" + host,
           "GET /hello HTTP/9.1\r\n" + host + "\r\n",
           "GET /hello HTTP/1.1\r\nHost h\r\n\r\n" + host,
           "GET /hello HTTP/1.1\r\n\r\n" + std::string(),
           "GET /hello HTTP/1.1\r\n" + host + host + "\r\n",
           "GET /hello HTTP/1.1\n" + host + "\n",
           "GET /hel%6 HTTP/1.1\r\n" + host + "\r\n",
           "GET /hel%zz HTTP/1.1\r\n" + host + "\r\n",
           "POST /echo HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n",
           "POST /echo HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
           "POST /echo HTTP/1.1\r\n" + host + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
           "POST /echo HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
           "POST /echo HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n",
           "POST /echo HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\nzz",
           "GET /hello HTTP/1.1\r\n" + host + "X-Bad: a\x01" + "b\r\n\r\n",
       }) {
    SCOPED_TRACE(request);
    RawClient client(address_);
    client.send(request);
    const Answer answer = client.read_answer();
    expect_error(answer, 400, "invalid_request_error");
    EXPECT_TRUE(answer.has("Connection: close\r\n"));
    EXPECT_EQ(client.read_to_end(), "");
  }
  EXPECT_EQ(get("/hello").status, 200);
}

// Otherwise its body would be taken for the next request.
TEST_F(HttpServerTest, RejectsOtherTransferEncodings) {
  for (const char* encoding : {"gzip", "gzip, chunked", "identity", "xchunked"}) {
    RawClient client(address_);
    client.send(std::string("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: ") + encoding +
                "\r\n\r\nGET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_error(client.read_answer(), 501, "server_error");
    EXPECT_EQ(client.read_to_end(), "");
  }
}

TEST_F(HttpServerTest, RejectsOtherExpectations) {
  RawClient client(address_);
  client.send("GET /hello HTTP/1.1\r\nHost: h\r\nExpect: wonders\r\n\r\n");
  expect_error(client.read_answer(), 417, "invalid_request_error");
}

TEST_F(HttpServerTest, LimitsTheHeader) {
  RawClient one_line(address_);
  one_line.send("GET /hello HTTP/1.1\r\nHost: h\r\nX-Long: " + std::string(5000, 'x'));
  expect_error(one_line.read_answer(), 431, "invalid_request_error");
  RawClient target(address_);
  target.send("GET /" + std::string(5000, 'x'));
  expect_error(target.read_answer(), 431, "invalid_request_error");
}

TEST_F(HttpServerTest, LimitsTheHeaderThatComesLineByLine) {
  RawClient client(address_);
  client.send("GET /hello HTTP/1.1\r\nHost: h\r\n");
  // A line a segment; the server closes before all are sent.
  for (int i = 0; i < 2000 && client.send("X-Line: 0123456789\r\n"); ++i) std::this_thread::yield();
  client.send("\r\n");
  expect_error(client.read_answer(), 431, "invalid_request_error");
}

TEST_F(HttpServerTest, LimitsTheBody) {
  RawClient exact(address_);
  exact.request("POST", "/echo", std::string(10000, 'x'));
  EXPECT_EQ(exact.read_answer().status, 200);
  // More than the sockets' buffers hold: a client that sends all before it reads must not be reset meanwhile.
  RawClient declared(address_);
  EXPECT_TRUE(declared.request("POST", "/echo", std::string(8 << 20, 'x')));
  expect_error(declared.read_answer(), 413, "invalid_request_error");
  RawClient chunked(address_);
  chunked.send("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 11 && chunked.send("3e8\r\n" + std::string(1000, 'x') + "\r\n"); ++i) {
  }
  expect_error(chunked.read_answer(), 413, "invalid_request_error");
}

TEST_F(HttpServerTest, LimitsTheBodiesOfAllRequests) {
  HttpLimits limits;
  limits.bodies_bytes_max = 10000;
  restart(limits);
  RawClient holder(address_);
  holder.request("POST", "/late", std::string(9000, 'x'));
  ASSERT_TRUE(within_patience(handlers_begun_));
  RawClient refused(address_);
  refused.request("POST", "/echo", std::string(2000, 'x'));
  expect_error(refused.read_answer(), 503, "service_unavailable_error");
  RawClient small(address_);
  small.request("POST", "/echo", std::string(500, 'x'));
  EXPECT_EQ(small.read_answer().status, 200);
  open_gate();
  EXPECT_EQ(holder.read_answer().status, 200);
  RawClient later(address_);
  later.request("POST", "/echo", std::string(9000, 'x'));
  EXPECT_EQ(later.read_answer().status, 200);
}

TEST_F(HttpServerTest, LimitsChunkExtensionsAndTrailers) {
  for (const char* begin : {"1;", "0\r\nX-Trailer: "}) {
    RawClient client(address_);
    client.send(std::string("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n") + begin);
    client.send(std::string(5000, 'x'));
    EXPECT_EQ(client.read_answer().status, 431);
  }
}

TEST_F(HttpServerTest, LimitsConnections) {
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<RawClient>(address_));
    clients.back()->request("GET", "/hello");
    EXPECT_EQ(clients.back()->read_answer().status, 200);
  }
  RawClient refused(address_);
  refused.request("GET", "/hello");
  const Answer answer = refused.read_answer();
  expect_error(answer, 503, "service_unavailable_error");
  EXPECT_TRUE(answer.has("Retry-After: 1\r\n"));
  EXPECT_EQ(refused.read_to_end(), "");
  refused.close();
  clients.pop_back();
  ASSERT_TRUE(comes_to(3));
  EXPECT_EQ(get("/hello").status, 200);
}

TEST_F(HttpServerTest, ClosesIdleConnections) {
  HttpLimits limits;
  limits.idle_time_max = 100ms;
  restart(limits);
  RawClient silent(address_);
  EXPECT_EQ(silent.read_to_end(), "");
  RawClient used(address_);
  used.request("GET", "/hello");
  EXPECT_EQ(used.read_answer().status, 200);
  EXPECT_EQ(used.read_to_end(), "");
}

TEST_F(HttpServerTest, CutsSlowRequests) {
  HttpLimits limits;
  limits.request_time_max = 200ms;
  restart(limits);
  RawClient header(address_);
  header.send("GET /hello HTTP/1.1\r\n");
  expect_error(header.read_answer(), 408, "invalid_request_error");
  RawClient body(address_);
  body.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc");
  expect_error(body.read_answer(), 408, "invalid_request_error");
  // Bytes that keep coming do not prolong it.
  RawClient slow(address_);
  slow.send("GET /hello HTTP/1.1\r\nX-Slow: ");
  const auto begin = std::chrono::steady_clock::now();
  while (slow.send("x") && std::chrono::steady_clock::now() < begin + 400ms) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(slow.read_answer().status, 408);
}

TEST_F(HttpServerTest, CutsClientsThatDoNotRead) {
  HttpLimits limits;
  limits.write_time_max = 200ms;
  restart(limits);
  RawClient client(address_, 4096);
  client.request("GET", "/endless");
  EXPECT_TRUE(within_patience(client_gone_));
  EXPECT_TRUE(comes_to(0));
}

// The kernel sees progress here; only the server's own clock knows that a write takes too long.
TEST_F(HttpServerTest, CutsClientsThatReadTooSlowly) {
  HttpLimits limits;
  limits.write_time_max = 200ms;
  restart(limits);
  RawClient client(address_, 4096);
  client.request("GET", "/endless");
  std::future<void> gone = client_gone_.get_future();
  const auto deadline = std::chrono::steady_clock::now() + 5s;
  while (gone.wait_for(5ms) != std::future_status::ready && std::chrono::steady_clock::now() < deadline) {
    client.read_bytes(512);
  }
  EXPECT_EQ(gone.wait_for(0s), std::future_status::ready);
}

TEST_F(HttpServerTest, TellsAWaitingHandlerThatItsClientHasGone) {
  RawClient client(address_);
  client.request("GET", "/gated");
  client.read_through("begun ");
  client.close();
  EXPECT_TRUE(within_patience(client_gone_));
  EXPECT_TRUE(comes_to(0));
  on_server([this] { EXPECT_TRUE(client_seen_gone_); });
}

TEST_F(HttpServerTest, TellsOnceThatAClientHasGone) {
  RawClient client(address_);
  client.request("GET", "/deaf");
  ASSERT_TRUE(within_patience(handlers_begun_));
  client.close();
  ASSERT_TRUE(within_patience(client_gone_));
  // Closes the socket under the handler: another reason to tell it.
  EXPECT_EQ(stop(0ms).wait_for(kPatience), std::future_status::ready);
  on_server([this] { EXPECT_EQ(times_told_, 1); });
  open_gate();
}

TEST_F(HttpServerTest, TellsOfAClientThatSentAheadAndLeft) {
  RawClient client(address_);
  client.request("GET", "/gated");
  client.read_through("begun ");
  client.request("GET", "/hello");
  client.half_close();
  EXPECT_TRUE(within_patience(client_gone_));
}

TEST_F(HttpServerTest, WritesFailWhenTheClientHasGone) {
  RawClient client(address_);
  client.request("GET", "/endless");
  client.read_through("\r\n\r\n");
  client.close();
  EXPECT_TRUE(within_patience(client_gone_));
  EXPECT_TRUE(comes_to(0));
}

TEST_F(HttpServerTest, SurvivesHandlersThatFail) {
  RawClient client(address_);
  client.request("GET", "/throw");
  Answer answer = client.read_answer();
  expect_error(answer, 500, "server_error");
  EXPECT_THAT(answer.body, Not(HasSubstr("secret")));
  client.request("GET", "/split");
  answer = client.read_answer();
  expect_error(answer, 500, "server_error");
  EXPECT_FALSE(answer.has("X-Injected"));
  client.request("GET", "/silent");
  expect_error(client.read_answer(), 500, "server_error");
  client.request("GET", "/throw-late");
  const std::string all = client.read_to_end();
  EXPECT_THAT(all, HasSubstr("part\r\n"));
  EXPECT_THAT(all, Not(HasSubstr("0\r\n\r\n")));
  EXPECT_TRUE(comes_to(0));
}

TEST_F(HttpServerTest, StopLetsAStreamFinish) {
  RawClient idle(address_);
  idle.request("GET", "/hello");
  idle.read_answer();
  RawClient partial(address_);
  partial.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n");
  RawClient streaming(address_);
  streaming.request("GET", "/gated");
  streaming.read_through("begun ");
  std::future<void> stopped = stop(60s);
  EXPECT_EQ(idle.read_to_end(), "");  // closed at once
  EXPECT_ANY_THROW(RawClient late(address_));
  partial.send("ok");
  const Answer answer = partial.read_answer();
  EXPECT_EQ(answer.body, "ok");
  EXPECT_TRUE(answer.has("Connection: close\r\n"));
  EXPECT_EQ(stopped.wait_for(0s), std::future_status::timeout);
  open_gate();
  EXPECT_THAT(streaming.read_to_end(), HasSubstr("done\r\n0\r\n\r\n"));
  ASSERT_EQ(stopped.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(connections(), 0);
}

TEST_F(HttpServerTest, StopCutsWhatOutlastsTheGrace) {
  RawClient client(address_);
  client.request("GET", "/gated");
  client.read_through("begun ");
  std::future<void> first = stop(50ms);
  std::future<void> second = stop(50ms);
  EXPECT_TRUE(within_patience(client_gone_));
  EXPECT_EQ(first.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(second.wait_for(kPatience), std::future_status::ready);
  EXPECT_THAT(client.read_to_end(), Not(HasSubstr("0\r\n\r\n")));
  EXPECT_EQ(connections(), 0);
  EXPECT_EQ(stop(50ms).wait_for(kPatience), std::future_status::ready);
}

TEST_F(HttpServerTest, StopDoesNotWaitForEverForADeafHandler) {
  RawClient client(address_);
  client.request("GET", "/late");
  ASSERT_TRUE(within_patience(handlers_begun_));
  EXPECT_EQ(stop(10ms).wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(connections(), 1);
  open_gate();
  EXPECT_TRUE(comes_to(0));
}

TEST_F(HttpServerTest, CanBeDestroyedWhileItServes) {
  RawClient client(address_);
  client.request("GET", "/gated");
  client.read_through("begun ");
  on_server([this] { server_.reset(); });
  EXPECT_TRUE(within_patience(client_gone_));
}

TEST_F(HttpServerTest, BindsBeforeItServes) {
  asio::io_context io;
  HttpServer early(io.get_executor(), {});
  const std::string address = early.bind("localhost:0");
  RawClient client(address);
  client.request("GET", "/hello");
  early.route("GET", "/hello", [](HttpExchange& exchange) -> asio::awaitable<void> {
    HttpResponse response{.body = "early"};
    co_await exchange.send(std::move(response));
  });
  early.start();
  std::thread thread([&] { io.run(); });
  EXPECT_EQ(client.read_answer().body, "early");
  asio::co_spawn(io, early.stop(0ms), asio::use_future).get();
  thread.join();
}

TEST_F(HttpServerTest, SaysWhyItCannotListen) {
  asio::io_context io;
  HttpServer other(io.get_executor(), {});
  try {
    other.listen(address_);
    FAIL() << "two servers on one address";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
    EXPECT_THAT(error.what(), HasSubstr(address_));
  }
  for (const char* address : {"", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:http", "127.0.0.1:65536"}) {
    try {
      other.listen(address);
      FAIL() << address;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << address;
    }
  }
}

}  // namespace
}  // namespace bellwether::mesh
