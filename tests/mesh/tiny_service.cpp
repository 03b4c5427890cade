// The smallest service there is: what service_test.cpp starts, probes and stops.
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "mesh/service.h"

namespace bellwether::mesh {
namespace {

namespace asio = boost::asio;

class TinyService final : public Component {
 public:
  explicit TinyService(Service& service)
      : service_(service), stopped_(service.io(), asio::steady_timer::time_point::max()) {
    service.http().route("GET", "/until-stopped",
                         [this](HttpExchange& exchange) -> asio::awaitable<void> { co_await stream(exchange); });
    service.http().route("GET", "/for-ever", [this](HttpExchange& exchange) -> asio::awaitable<void> {
      exchange.on_client_gone([this] { stopped_.cancel(); });
      HttpResponse head{.content_type = "text/plain"};
      co_await exchange.start_stream(std::move(head));
      co_await exchange.write("begun");
      while (!exchange.client_gone()) co_await stopped_.async_wait(asio::as_tuple(asio::use_awaitable));
    });
    service.http().route("GET", "/address", [&service](HttpExchange& exchange) -> asio::awaitable<void> {
      HttpResponse response{.body = service.http_address() + " " + service.grpc_address()};
      co_await exchange.send(std::move(response));
    });
    service.http().route("POST", "/shut-down", [&service](HttpExchange& exchange) -> asio::awaitable<void> {
      const int status = std::stoi(exchange.request().body);
      HttpResponse response;
      co_await exchange.send(std::move(response));
      service.shut_down(status);
      service.shut_down(status + 1);  // the first one counts
    });
    service.http().route("POST", "/ready", [&service](HttpExchange& exchange) -> asio::awaitable<void> {
      service.set_ready(exchange.request().body == "true", "the test says so");
      HttpResponse response;
      co_await exchange.send(std::move(response));
    });
    service.set_ready(true);
  }

  asio::awaitable<void> stop() override {
    service_.set_ready(true);  // must have no effect any more
    stopping_ = true;
    stopped_.cancel();
    co_return;
  }

 private:
  asio::awaitable<void> stream(HttpExchange& exchange) {
    HttpResponse head{.content_type = "text/plain"};
    co_await exchange.start_stream(std::move(head));
    co_await exchange.write("begun ");
    while (!stopping_) co_await stopped_.async_wait(asio::as_tuple(asio::use_awaitable));
    co_await exchange.write("finished");
    co_await exchange.end_stream();
  }

  Service& service_;
  bool stopping_ = false;
  asio::steady_timer stopped_;
};

}  // namespace
}  // namespace bellwether::mesh

int main(int argc, char** argv) {
  using namespace bellwether::mesh;
  Settings declared("tiny-service", "tiny", "A service for tests.");
  bool fail = false;
  declared.add("fail", &fail, {.sentence = "Fail to start"});
  ServiceSettings common;
  common.declare(declared);
  if (const auto status = declared.parse_main(argc, argv)) return *status;
  return run_service("tiny", common, [&](Service& service) {
    if (fail) throw std::runtime_error("asked to fail");
    return std::make_unique<TinyService>(service);
  });
}
