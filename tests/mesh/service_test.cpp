#include "mesh/service.h"

#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>

#include "grpc/health/v1/health.grpc.pb.h"
#include "mesh/http_client.h"
#include "mesh/ids.h"
#include "mesh/nats_server.h"
#include "mesh/process.h"

namespace bellwether::mesh {
namespace {

using namespace std::chrono_literals;
using bellwether::testing::Answer;
using bellwether::testing::NatsServer;
using bellwether::testing::RawClient;
using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kPatience = 20s;  // what should happen, happens much sooner

// For what another process does and nothing here is told of.
bool comes_true(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

// tiny_service.cpp as a process, with its log.
class TinyProcess {
 public:
  explicit TinyProcess(const std::string& nats_url, const std::vector<std::string>& arguments = {})
      : log_file_(std::filesystem::temp_directory_path() / random_id("bellwether-tiny")),
        process_(command(nats_url, arguments)) {}
  ~TinyProcess() {
    std::error_code ignored;
    std::filesystem::remove(log_file_, ignored);
  }

  [[nodiscard]] std::string log() const {
    std::ifstream file(log_file_);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  // The log's first complete line with this event; null while there is none.
  [[nodiscard]] boost::json::value line_of(const std::string& event) const {
    const std::string text = log();
    for (size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
      const boost::json::value line = boost::json::parse(std::string_view(text).substr(begin, end - begin));
      if (line.at("event").as_string() == event) return line;
    }
    return nullptr;
  }

  // REQUIRES: it is to start.
  [[nodiscard]] std::string address(const char* field) {
    if (!comes_true([&] { return !line_of("started").is_null() || process_.poll(); }) || process_.poll()) {
      throw std::runtime_error("the tiny service did not start:\n" + log());
    }
    return boost::json::value_to<std::string>(line_of("started").at(field));
  }
  [[nodiscard]] std::string http() { return address("http"); }
  [[nodiscard]] std::string grpc() { return address("grpc"); }

  Answer get(const std::string& path) {
    RawClient client(http());
    client.request("GET", path);
    return client.read_answer();
  }
  Answer post(const std::string& path, const std::string& body) {
    RawClient client(http());
    client.request("POST", path, body);
    return client.read_answer();
  }

  void signal(int number) { process_.signal(number); }
  // The exit status; -1 when it does not end.
  int status() { return process_.wait(kPatience).value_or(-1); }

 private:
  [[nodiscard]] Command command(const std::string& nats_url, const std::vector<std::string>& arguments) const {
    Command command{{program_folder() + "/tiny-service", "--nats-url", nats_url, "--log-format", "json"}, log_file_};
    command.arguments.insert(command.arguments.end(), arguments.begin(), arguments.end());
    return command;
  }

  std::string log_file_;
  ChildProcess process_;
};

class ServiceTest : public ::testing::Test {
 protected:
  NatsServer nats_;
};

HealthCheckResponse::ServingStatus check(const std::string& address) {
  const auto stub = Health::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  HealthCheckResponse response;
  const grpc::Status status = stub->Check(&context, HealthCheckRequest(), &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.status();
}

bool comes_to(TinyProcess& tiny, HealthCheckResponse::ServingStatus status) {
  return comes_true([&] { return check(tiny.grpc()) == status; });
}

TEST_F(ServiceTest, ShowsItsHealthAndMetrics) {
  TinyProcess tiny(nats_.url());
  EXPECT_EQ(tiny.get("/health").body, R"({"status":"ok"})");
  const Answer ready = tiny.get("/ready");
  EXPECT_EQ(ready.status, 200);
  EXPECT_EQ(ready.body, R"({"status":"ready"})");
  EXPECT_EQ(check(tiny.grpc()), HealthCheckResponse::SERVING);
  EXPECT_EQ(tiny.get("/address").body, tiny.http() + " " + tiny.grpc());
  const Answer metrics = tiny.get("/metrics");
  EXPECT_EQ(metrics.status, 200);
  EXPECT_TRUE(metrics.has("Content-Type: text/plain; version=0.0.4"));
  EXPECT_THAT(metrics.body, HasSubstr("bellwether_build_info{service=\"tiny\",version=\"" BELLWETHER_VERSION "\"} 1"));
  EXPECT_THAT(metrics.body, HasSubstr("bellwether_ready 1"));
  EXPECT_THAT(metrics.body, HasSubstr("bellwether_http_connections 1"));
  EXPECT_THAT(metrics.body, HasSubstr("bellwether_bus_connected 1"));
  EXPECT_THAT(metrics.body, HasSubstr("# TYPE bellwether_bus_published_total counter"));
}

TEST_F(ServiceTest, ACollectorThatCannotBeIsAnErrorWithTheSettingsName) {
  TinyProcess tiny(nats_.url(), {"--otlp-endpoint", "https://collector"});
  EXPECT_EQ(tiny.status(), 1);
  EXPECT_THAT(tiny.log(), HasSubstr("--otlp-endpoint"));
}

TEST_F(ServiceTest, IsReadyWhenItSaysSo) {
  TinyProcess tiny(nats_.url());
  EXPECT_TRUE(comes_to(tiny, HealthCheckResponse::SERVING));
  tiny.post("/ready", "false");
  EXPECT_TRUE(comes_to(tiny, HealthCheckResponse::NOT_SERVING));
  const Answer ready = tiny.get("/ready");
  EXPECT_EQ(ready.status, 503);
  EXPECT_THAT(ready.body, HasSubstr("the test says so"));
  EXPECT_TRUE(ready.has("Retry-After: 1"));
  EXPECT_EQ(tiny.get("/health").status, 200) << "it lives";
  tiny.post("/ready", "true");
  EXPECT_TRUE(comes_to(tiny, HealthCheckResponse::SERVING));
}

TEST_F(ServiceTest, IsNotReadyWithoutItsBus) {
  TinyProcess tiny(nats_.url());
  EXPECT_TRUE(comes_to(tiny, HealthCheckResponse::SERVING));
  nats_.kill();
  EXPECT_TRUE(comes_to(tiny, HealthCheckResponse::NOT_SERVING));
  const Answer ready = tiny.get("/ready");
  EXPECT_EQ(ready.status, 503);
  EXPECT_THAT(ready.body, HasSubstr("not connected to NATS"));
  EXPECT_EQ(tiny.get("/health").status, 200) << "it lives";
  nats_.start();
  EXPECT_TRUE(comes_to(tiny, HealthCheckResponse::SERVING));
  EXPECT_EQ(tiny.get("/ready").status, 200);
}

TEST_F(ServiceTest, FinishesAStreamAfterSigterm) {
  TinyProcess tiny(nats_.url());
  RawClient client(tiny.http());
  client.request("GET", "/until-stopped");
  client.read_through("begun ");
  tiny.signal(SIGTERM);
  EXPECT_THAT(client.read_to_end(), HasSubstr("finished\r\n0\r\n\r\n"));
  EXPECT_EQ(tiny.status(), 0) << tiny.log();
  EXPECT_FALSE(tiny.line_of("stopped").is_null());
  const std::string log = tiny.log();
  EXPECT_EQ(log.find("\"event\":\"ready\"", log.find("shutting down")), std::string::npos) << log;
}

TEST_F(ServiceTest, CutsAStreamThatOutlastsTheGrace) {
  TinyProcess tiny(nats_.url(), {"--shutdown-grace-ms", "100"});
  RawClient client(tiny.http());
  client.request("GET", "/for-ever");
  client.read_through("begun");
  tiny.signal(SIGINT);
  EXPECT_THAT(client.read_to_end(), Not(HasSubstr("0\r\n\r\n")));
  EXPECT_EQ(tiny.status(), 0) << tiny.log();
}

TEST_F(ServiceTest, EndsAtOnceOnTheSecondSignal) {
  TinyProcess tiny(nats_.url());
  RawClient client(tiny.http());
  client.request("GET", "/for-ever");
  client.read_through("begun");
  tiny.signal(SIGTERM);
  ASSERT_TRUE(comes_true([&] { return !tiny.line_of("shutting down").is_null(); }));
  tiny.signal(SIGTERM);
  EXPECT_EQ(tiny.status(), 130);
}

TEST_F(ServiceTest, ShutsDownByItself) {
  TinyProcess tiny(nats_.url());
  tiny.post("/shut-down", "3");
  EXPECT_EQ(tiny.status(), 3) << tiny.log();
}

TEST_F(ServiceTest, SaysWhyItCannotStart) {
  const auto error_of = [](TinyProcess& tiny) {
    EXPECT_EQ(tiny.status(), 1) << tiny.log();
    return boost::json::value_to<std::string>(tiny.line_of("cannot start").at("error"));
  };
  TinyProcess no_bus("nats://127.0.0.1:1");
  const std::string why = error_of(no_bus);
  EXPECT_THAT(why, HasSubstr("nats://127.0.0.1:1"));
  EXPECT_THAT(why, HasSubstr("nats-server"));
  TinyProcess failed(nats_.url(), {"--fail"});
  EXPECT_EQ(error_of(failed), "asked to fail");
  TinyProcess first(nats_.url());
  TinyProcess same_http(nats_.url(), {"--http", first.http()});
  EXPECT_THAT(error_of(same_http), HasSubstr(first.http()));
  TinyProcess same_grpc(nats_.url(), {"--grpc", first.grpc()});
  EXPECT_THAT(error_of(same_grpc), HasSubstr(first.grpc()));
}

TEST_F(ServiceTest, IsReachableFromOutsideOnlyWhenToldTo) {
  for (const char* flag : {"--http", "--grpc"}) {
    for (const char* address : {"0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.org:0"}) {
      TinyProcess open(nats_.url(), {flag, address});
      EXPECT_EQ(open.status(), 1);
      EXPECT_THAT(open.log(), HasSubstr("--allow-remote"));
      EXPECT_THAT(open.log(), HasSubstr(flag));
    }
  }
  TinyProcess allowed(nats_.url(), {"--http", "0.0.0.0:0", "--grpc", "0.0.0.0:0", "--allow-remote"});
  EXPECT_EQ(allowed.get("/health").status, 200);
  EXPECT_EQ(check(allowed.grpc()), HealthCheckResponse::SERVING);
  TinyProcess loopback(nats_.url(), {"--http", "localhost:0", "--grpc", ""});
  EXPECT_EQ(loopback.get("/health").status, 200);
  EXPECT_EQ(loopback.grpc(), "");
}

}  // namespace
}  // namespace bellwether::mesh
