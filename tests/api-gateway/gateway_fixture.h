// A real nats-server, a real gateway in this process, and a scripted mesh behind it.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <boost/json/parse.hpp>

#include "api-gateway/gateway.h"
#include "http_client.h"
#include "mesh/nats_server.h"
#include "mesh/service.h"
#include "scripted_mesh.h"

namespace bellwether::testing {

// Runs the gateway as its program does, on a thread of its own.
class RunningGateway {
 public:
  RunningGateway(const std::string& nats_url, const gateway::GatewaySettings& settings,
                 int64_t shutdown_grace_ms = 5000, const std::string& otlp_endpoint = "") {
    mesh::ServiceSettings common;
    common.nats_url = nats_url;
    common.grpc_address = "";
    common.log_level = std::getenv("TEST_LOG") == nullptr ? "error" : "debug";
    common.shutdown_grace_ms = shutdown_grace_ms;
    common.otlp_endpoint = otlp_endpoint;
    common.http_limits = settings.http_limits();
    std::promise<mesh::Service*> started;
    std::future<mesh::Service*> service = started.get_future();
    thread_ = std::thread([this, common, settings, started = std::move(started)]() mutable {
      status_ = mesh::run_service("api-gateway", common, [&](mesh::Service& made) {
        auto component = std::make_unique<gateway::Gateway>(made, settings);
        address_ = made.http_address();
        started.set_value(&made);
        return component;
      });
    });
    service_ = service.get();
  }
  ~RunningGateway() { stop(); }

  // Returns the exit status.
  int stop() {
    if (thread_.joinable()) {
      begin_stop();
      thread_.join();
    }
    return status_;
  }
  void begin_stop() { service_->shut_down(); }
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  std::thread thread_;
  mesh::Service* service_ = nullptr;
  std::string address_;
  int status_ = -1;
};

class GatewayTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { nats_ = std::make_unique<NatsServer>(); }
  static void TearDownTestSuite() { nats_.reset(); }

  void SetUp() override { script_ = std::make_unique<ScriptedMesh>(nats_->url()); }

  // With times short enough for tests.
  static gateway::GatewaySettings quick_settings() {
    gateway::GatewaySettings settings;
    settings.placement_ms_max = 500;
    settings.lost_tokens_ms_max = 150;
    settings.keep_alive_ms = 100;
    settings.recoveries_max = 0;  // what is lost is told
    return settings;
  }

  void start_gateway(const gateway::GatewaySettings& settings = quick_settings()) {
    gateway_ = std::make_unique<RunningGateway>(nats_->url(), settings);
  }
  // One head, and a gateway that knows it.
  void start_with_head(const gateway::GatewaySettings& settings = quick_settings()) {
    start_gateway(settings);
    script_->add_head("head-1");
    wait_for_model();
  }
  void wait_for_model() {
    for (int tries = 0; tries < 1000; ++tries) {
      HttpCall call(gateway_->address(), "GET", "/v1/models");
      if (!call.json().at("data").as_array().empty()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    throw std::runtime_error("the gateway does not see the head");
  }

  [[nodiscard]] std::unique_ptr<HttpCall> post(const std::string& path, const std::string& body,
                                               const std::vector<std::string>& headers = {}) const {
    return std::make_unique<HttpCall>(gateway_->address(), "POST", path, body, headers);
  }
  [[nodiscard]] std::unique_ptr<HttpCall> chat(const std::string& more = "") const {
    return post("/v1/chat/completions",
                R"({"model":"nano","messages":[{"role":"user","content":"Hello"}])" + more + "}");
  }
  // A reply may be there before it is counted.
  void expect_metric(const std::string& line) const {
    for (int tries = 0; tries < 1000; ++tries) {
      if (metrics().find(line + "\n") != std::string::npos) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ADD_FAILURE() << "no " << line << " in\n" << metrics();
  }
  [[nodiscard]] std::string metrics() const { return HttpCall(gateway_->address(), "GET", "/metrics").body(); }

  static std::vector<uint32_t> encode(const std::string& text) {
    static const gateway::ServedModel model = gateway::make_served_model(demo_card());
    const auto ids = model.tokenizer.encode(text);
    return {ids.begin(), ids.end()};
  }
  static std::vector<uint32_t> with_end(std::vector<uint32_t> ids) {
    ids.push_back(1);
    return ids;
  }
  // The next event with JSON in it.
  static boost::json::value next_chunk(HttpCall& call) {
    for (;;) {
      const auto event = call.next_event();
      if (!event) throw std::runtime_error("the stream ended");
      if (event->starts_with(":")) continue;
      if (!event->starts_with("data: {")) throw std::runtime_error("not a chunk: " + *event);
      return boost::json::parse(event->substr(6));
    }
  }
  // Skips keep-alives; expects the end of a stream.
  static void expect_done(HttpCall& call) {
    auto event = call.next_event();
    while (event && event->starts_with(":")) event = call.next_event();
    EXPECT_EQ(event, "data: [DONE]");
    EXPECT_EQ(call.next_event(), std::nullopt);
  }

  static inline std::unique_ptr<NatsServer> nats_;
  std::unique_ptr<ScriptedMesh> script_;
  std::unique_ptr<RunningGateway> gateway_;  // ends before the script
};

}  // namespace bellwether::testing
