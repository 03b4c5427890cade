// API keys and limits at the gateway's door: real HTTP, a real bus, a scripted mesh behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gateway_fixture.h"
#include "mesh/api_key.h"
#include "mesh/sha256.h"

namespace bellwether::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr v1::FinishReason kStop = v1::FINISH_REASON_STOP;

class AccessTest : public GatewayTest {
 protected:
  void SetUp() override {
    GatewayTest::SetUp();
    folder_ = std::filesystem::temp_directory_path() / ("bellwether-access-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override {
    gateway_.reset();
    std::filesystem::remove_all(folder_);
  }

  static mesh::ApiKey key(const std::string& id, const std::string& secret) {
    return {.id = id, .sha256 = mesh::sha256_hex(secret), .tenant = "tenant-" + id};
  }
  void write_keys(const std::vector<mesh::ApiKey>& keys) const {
    const std::filesystem::path fresh = file().string() + ".new";
    {
      std::ofstream out(fresh);
      out << "keys:\n";
      for (const mesh::ApiKey& each : keys) out << mesh::render_api_key(each);
    }
    std::filesystem::rename(fresh, file());
  }
  [[nodiscard]] std::filesystem::path file() const { return folder_ / "keys.yaml"; }
  [[nodiscard]] gateway::GatewaySettings settings_with_keys() const {
    gateway::GatewaySettings settings = quick_settings();
    settings.access.api_keys_file = file();
    return settings;
  }

  void start_with_keys(const std::vector<mesh::ApiKey>& keys, gateway::GatewaySettings settings) {
    write_keys(keys);
    start_gateway(settings);
    script_->add_head("head-1");
    wait_for_model_with("one");
  }
  void start_with_keys(const std::vector<mesh::ApiKey>& keys) { start_with_keys(keys, settings_with_keys()); }

  void wait_for_model_with(const std::string& secret) const {
    for (int tries = 0; tries < 1000; ++tries) {
      if (models_of(gateway_->address(), secret).size() > 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    throw std::runtime_error("the gateway does not see the head");
  }
  static boost::json::array models_of(const std::string& address, const std::string& secret) {
    HttpCall call(address, "GET", "/v1/models", "", {"Authorization: Bearer " + secret});
    return call.json().at("data").as_array();
  }

  static std::unique_ptr<HttpCall> chat_at(const std::string& address, const std::vector<std::string>& headers,
                                           const std::string& more = "") {
    return std::make_unique<HttpCall>(address, "POST", "/v1/chat/completions",
                                      R"({"model":"nano","messages":[{"role":"user","content":"Hello"}])" + more + "}",
                                      headers);
  }
  [[nodiscard]] std::unique_ptr<HttpCall> chat_with(const std::string& secret, const std::string& more = "") const {
    return chat_at(gateway_->address(), {"Authorization: Bearer " + secret}, more);
  }
  // Answers the next request with so many tokens; returns it.
  v1::GenerateRequest answer_next(uint32_t tokens = 3) {
    const v1::GenerateRequest request = script_->requests.wait();
    std::vector<uint32_t> ids(tokens - 1, 100);
    ids.push_back(1);
    script_->send("head-1", request, 0, ids, kStop);
    return request;
  }

  std::filesystem::path folder_;
};

TEST_F(AccessTest, WithoutAKeyNothingUnderV1) {
  start_with_keys({key("k", "one")});
  auto none = chat();
  EXPECT_EQ(none->status(), 401U);
  EXPECT_EQ(none->header("www-authenticate"), "Bearer");
  EXPECT_EQ(none->json().at("error").at("type").as_string(), "authentication_error");
  EXPECT_EQ(none->json().at("error").at("code").as_int64(), 401);
  EXPECT_EQ(chat_with("two")->status(), 401U);
  EXPECT_EQ(chat_with("")->status(), 401U);
  EXPECT_EQ(chat_at(gateway_->address(), {"Authorization: Basic one"})->status(), 401U);
  EXPECT_EQ(HttpCall(gateway_->address(), "GET", "/v1/models").status(), 401U);
  EXPECT_EQ(HttpCall(gateway_->address(), "GET", "/health").status(), 200U);
  EXPECT_EQ(HttpCall(gateway_->address(), "GET", "/ready").status(), 200U);
  EXPECT_EQ(HttpCall(gateway_->address(), "GET", "/metrics").status(), 200U);
  expect_metric(R"(bellwether_gateway_rejections_total{reason="no_key"} 4)");
  expect_metric(R"(bellwether_gateway_rejections_total{reason="unknown_key"} 1)");
}

TEST_F(AccessTest, BothHeadersAndTheLabelsOfTheRequest) {
  mesh::ApiKey one = key("k", "one");
  one.priority = 5;
  start_with_keys({one, key("l", "two")});
  std::string salts[3];
  for (int i = 0; i < 3; ++i) {
    auto call =
        i == 0 ? chat_with("one") : chat_at(gateway_->address(), {"x-api-key: " + std::string(i == 1 ? "one" : "two")});
    const v1::GenerateRequest request = answer_next();
    EXPECT_EQ(call->status(), 200U);
    EXPECT_EQ(request.tenant(), i == 2 ? "tenant-l" : "tenant-k");
    EXPECT_EQ(request.priority(), i == 2 ? 0 : 5);
    salts[i] = request.cache_salt();
  }
  EXPECT_EQ(salts[0], salts[1]);
  EXPECT_NE(salts[0], salts[2]);
  auto salted = chat_with("one", R"(,"cache_salt":"mine")");
  EXPECT_NE(answer_next().cache_salt(), salts[0]);
  EXPECT_EQ(salted->status(), 200U);
}

TEST_F(AccessTest, SharedCacheWhereTenantsTrustEachOther) {
  gateway::GatewaySettings settings = settings_with_keys();
  settings.access.tenant_isolation = false;
  start_with_keys({key("k", "one")}, settings);
  auto call = chat_with("one");
  const v1::GenerateRequest request = answer_next();
  EXPECT_EQ(request.cache_salt(), "");
  EXPECT_EQ(request.tenant(), "tenant-k");
  EXPECT_EQ(call->status(), 200U);
}

TEST_F(AccessTest, OnlyTheModelsOfTheKey) {
  mesh::ApiKey other = key("l", "two");
  other.models = {"other-*"};
  start_with_keys({key("k", "one"), other});
  EXPECT_EQ(models_of(gateway_->address(), "one").size(), 1U);
  EXPECT_EQ(models_of(gateway_->address(), "two").size(), 0U);
  auto call = chat_with("two");
  EXPECT_EQ(call->status(), 403U);
  EXPECT_EQ(call->json().at("error").at("type").as_string(), "permission_error");
  EXPECT_EQ(call->json().at("error").at("param").as_string(), "model");
  // Nor does it learn what else there is.
  HttpCall unknown(gateway_->address(), "POST", "/v1/completions", R"({"model":"other-x","prompt":"a"})",
                   {"x-api-key: two"});
  EXPECT_EQ(unknown.status(), 404U);
  EXPECT_THAT(unknown.body(), Not(HasSubstr("nano")));
}

TEST_F(AccessTest, RequestsPerMinuteAndItsHeaders) {
  mesh::ApiKey one = key("k", "one");
  one.requests_per_minute = 2;
  start_with_keys({one});
  for (const char* remaining : {"1", "0"}) {
    auto call = chat_with("one");
    answer_next();
    EXPECT_EQ(call->status(), 200U);
    EXPECT_EQ(call->header("x-ratelimit-limit-requests"), "2");
    EXPECT_EQ(call->header("x-ratelimit-remaining-requests"), remaining);
    EXPECT_EQ(call->header("x-ratelimit-limit-tokens"), "");
  }
  auto call = chat_with("one");
  EXPECT_EQ(call->status(), 429U);
  EXPECT_EQ(call->json().at("error").at("type").as_string(), "rate_limit_error");
  EXPECT_EQ(call->header("x-ratelimit-remaining-requests"), "0");
  EXPECT_NE(call->header("x-ratelimit-reset-requests"), "");
  const int retry_after = std::stoi(call->header("retry-after"));
  EXPECT_GT(retry_after, 10);
  EXPECT_LE(retry_after, 30);
}

TEST_F(AccessTest, TokensAreReservedAndSettled) {
  mesh::ApiKey one = key("k", "one");
  one.tokens_per_minute = 1000;
  start_with_keys({one});
  auto first = chat_with("one", R"(,"max_tokens":600)");
  const v1::GenerateRequest request = script_->requests.wait();
  // While it runs nobody else gets what it may need.
  EXPECT_EQ(chat_with("one", R"(,"max_tokens":600)")->status(), 429U);
  script_->send("head-1", request, 0, {100, 1}, kStop);
  EXPECT_EQ(first->status(), 200U);
  const int64_t used = request.prompt_ids_size() + 2;
  auto second = chat_with("one", R"(,"max_tokens":600)");
  answer_next();
  EXPECT_EQ(second->status(), 200U);
  // 1000 less what the first used and the second reserved, and what flowed in meanwhile.
  const int64_t remaining = std::stoll(second->header("x-ratelimit-remaining-tokens"));
  EXPECT_GE(remaining, 1000 - used - request.prompt_ids_size() - 600);
  EXPECT_LE(remaining, 1000 - request.prompt_ids_size() - 600);
  // More than a minute's worth never fits.
  auto hopeless = chat_with("one", R"(,"max_tokens":2000)");
  EXPECT_EQ(hopeless->status(), 429U);
  EXPECT_EQ(hopeless->header("retry-after"), "");
}

TEST_F(AccessTest, ARequestThatWasNotServedPaysNoTokens) {
  mesh::ApiKey one = key("k", "one");
  one.tokens_per_minute = 1000;
  start_with_keys({one});
  script_->set_answer([](const v1::GenerateRequest&) {
    v1::GenerateReply reply;
    reply.mutable_refused()->set_code(v1::REFUSAL_CODE_OVERLOADED);
    return reply;
  });
  for (int i = 0; i < 3; ++i) EXPECT_EQ(chat_with("one", R"(,"max_tokens":900)")->status(), 503U);
}

TEST_F(AccessTest, ConcurrencyIsFreedWhenAClientLeaves) {
  mesh::ApiKey one = key("k", "one");
  one.concurrency = 1;
  start_with_keys({one});
  auto running = chat_with("one");
  (void)script_->requests.wait();
  EXPECT_EQ(chat_with("one")->status(), 429U);
  running->leave();
  (void)script_->cancels.wait();
  auto next = chat_with("one");
  answer_next();
  EXPECT_EQ(next->status(), 200U);
}

TEST_F(AccessTest, AChangedFileCountsWithoutARestart) {
  start_with_keys({key("k", "one")});
  EXPECT_EQ(chat_with("two")->status(), 401U);
  write_keys({key("l", "two")});
  for (int tries = 0;
       tries < 500 && HttpCall(gateway_->address(), "GET", "/v1/models", "", {"x-api-key: two"}).status() != 200;
       ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(HttpCall(gateway_->address(), "GET", "/v1/models", "", {"x-api-key: two"}).status(), 200U);
  EXPECT_EQ(chat_with("one")->status(), 401U);
}

TEST_F(AccessTest, AFileThatCannotBeReadChangesNothing) {
  write_keys({key("k", "one")});
  gateway::ApiKeyFile keys(file());
  EXPECT_FALSE(keys.refresh());
  std::ofstream(file(), std::ios::trunc) << "keys: {";
  EXPECT_FALSE(keys.refresh());
  EXPECT_NE(keys.find("one"), nullptr);
  std::filesystem::remove(file());
  EXPECT_FALSE(keys.refresh());
  EXPECT_NE(keys.find("one"), nullptr);
  write_keys({key("k", "two")});
  EXPECT_TRUE(keys.refresh());
  EXPECT_EQ(keys.find("one"), nullptr);
  EXPECT_NE(keys.find("two"), nullptr);
  EXPECT_FALSE(keys.refresh());
}

class SharedLimitsTest : public AccessTest {
 protected:
  void start_second() {
    second_ = std::make_unique<RunningGateway>(nats_->url(), settings_with_keys());
    while (models_of(second_->address(), "one").empty()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  void TearDown() override {
    second_.reset();
    AccessTest::TearDown();
  }
  void refuse_all() {
    script_->set_answer([](const v1::GenerateRequest&) {
      v1::GenerateReply reply;
      reply.mutable_refused()->set_code(v1::REFUSAL_CODE_OVERLOADED);
      return reply;
    });
  }
  // What the key is told once the gateway has heard of its uses elsewhere; until then requests are refused by the mesh.
  static std::string denial_at(const std::string& address) {
    for (int tries = 0; tries < 400; ++tries) {
      auto call = chat_at(address, {"x-api-key: one"});
      if (call->status() == 429) return call->body();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return "never denied";
  }

  std::unique_ptr<RunningGateway> second_;
};

TEST_F(SharedLimitsTest, ConcurrencyCountsOverAllGateways) {
  mesh::ApiKey one = key("k", "one");
  one.concurrency = 2;
  start_with_keys({one});
  start_second();
  auto here = chat_with("one");
  auto there = chat_at(second_->address(), {"x-api-key: one"});
  const v1::GenerateRequest requests[] = {script_->requests.wait(), script_->requests.wait()};
  refuse_all();
  EXPECT_THAT(denial_at(second_->address()), HasSubstr("2 requests running"));
  EXPECT_THAT(denial_at(gateway_->address()), HasSubstr("2 requests running"));
  for (const v1::GenerateRequest& request : requests) script_->send("head-1", request, 0, {1}, kStop);
  EXPECT_EQ(here->status(), 200U);
  EXPECT_EQ(there->status(), 200U);
}

TEST_F(SharedLimitsTest, AGatewayThatStartsKnowsWhatWasUsedAndTellsWhatIs) {
  mesh::ApiKey one = key("k", "one");
  one.requests_per_minute = 4;
  start_with_keys({one});
  const auto use_at = [&](const std::string& address) {
    auto call = chat_at(address, {"x-api-key: one"});
    answer_next();
    EXPECT_EQ(call->status(), 200U);
    return call->header("x-ratelimit-remaining-requests");
  };
  EXPECT_EQ(use_at(gateway_->address()), "3");
  EXPECT_EQ(use_at(gateway_->address()), "2");
  start_second();
  EXPECT_EQ(use_at(second_->address()), "1");
  EXPECT_EQ(use_at(second_->address()), "0");
  refuse_all();
  EXPECT_THAT(denial_at(gateway_->address()), HasSubstr("4 requests per minute"));
}

TEST(Gatekeeper, OtherMachinesNeedKeysUnlessToldOtherwise) {
  boost::asio::io_context io;
  const NatsServer nats;
  mesh::Bus bus(io.get_executor(), {.url = nats.url(), .client_name = "test", .credentials_file = {}});
  const auto make = [&](const gateway::AccessSettings& settings, const std::string& address) {
    gateway::Gatekeeper(io.get_executor(), bus, settings, "g", address).stop();
  };
  EXPECT_NO_THROW(make({}, "127.0.0.1:80"));
  EXPECT_NO_THROW(make({}, "[::1]:80"));
  EXPECT_NO_THROW(make({.allow_anonymous = true}, "0.0.0.0:80"));
  try {
    make({}, "0.0.0.0:80");
    FAIL() << "open to everybody";
  } catch (const mesh::Error& error) {
    EXPECT_EQ(error.field(), "--api-keys-file");
    EXPECT_THAT(error.what(), HasSubstr("--allow-anonymous"));
  }
  EXPECT_THROW(make({.api_keys_file = "/no/such/file"}, "0.0.0.0:80"), mesh::Error);
}

}  // namespace
}  // namespace bellwether::testing
