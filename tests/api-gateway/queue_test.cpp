// Requests that wait in a scheduler's queue, with a scripted mesh behind a real gateway.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>

#include "gateway_fixture.h"

namespace bellwether::testing {
namespace {

using ::testing::HasSubstr;
namespace json = boost::json;

constexpr v1::FinishReason kStop = v1::FINISH_REASON_STOP;
constexpr const char* kPlain = R"({"model":"nano","prompt":"x"})";
constexpr const char* kStreamed = R"({"model":"nano","prompt":"x","stream":true})";

class QueueTest : public GatewayTest {
 protected:
  static gateway::GatewaySettings settings() {
    gateway::GatewaySettings settings = quick_settings();
    settings.recoveries_max = 3;
    settings.keep_alive_ms = 50;
    settings.placement_ms_max = 5000;
    return settings;
  }

  void start(const gateway::GatewaySettings& settings = QueueTest::settings()) {
    start_with_head(settings);
    script_->queue_requests("s-1", [this](const v1::QueuePoll&) {
      return room_ ? ScriptedMesh::placed_on("head-1") : ScriptedMesh::queued_at("s-1", 2);
    });
  }

  static v1::GenerateReply refused(v1::RefusalCode code) {
    v1::GenerateReply reply;
    reply.mutable_refused()->set_code(code);
    reply.mutable_refused()->set_message("says the script");
    reply.mutable_refused()->set_retry_after_ms(7000);
    return reply;
  }

  const std::vector<uint32_t> ids_ = encode("zero one two three");
  std::atomic<bool> room_ = false;
};

TEST_F(QueueTest, ARequestWaitsAndIsServed) {
  start();
  auto call = post("/v1/completions", kPlain);
  const v1::GenerateRequest request = script_->requests.wait();
  for (int i = 0; i < 3; ++i) {
    const v1::QueuePoll poll = script_->polls.wait();
    EXPECT_EQ(poll.request_id(), request.request_id());
    EXPECT_EQ(poll.attempt(), 1U);
    EXPECT_FALSE(poll.leave());
  }
  room_ = true;
  script_->send("head-1", request, 0, with_end(ids_), kStop);
  EXPECT_EQ(call->status(), 200U);
  EXPECT_EQ(call->json().at("choices").at(0).at("text").as_string(), "zero one two three");
  EXPECT_EQ(script_->requests.size(), 0U);
}

TEST_F(QueueTest, AStreamSeesASignOfLife) {
  start();
  auto call = post("/v1/completions", kStreamed);
  const v1::GenerateRequest request = script_->requests.wait();
  EXPECT_EQ(call->status(), 200U);
  EXPECT_EQ(call->next_event(), ": queued, 2 before this one, about 2 s");
  room_ = true;
  script_->send("head-1", request, 0, with_end(ids_), kStop);
  const json::value chunk = next_chunk(*call);
  EXPECT_EQ(chunk.at("choices").at(0).at("text").as_string(), "zero one two three");
}

TEST_F(QueueTest, AStreamThatIsRefusedBeforeItBeganHasTheStatus) {
  start_with_head(settings());
  script_->queue_requests("s-1", [](const v1::QueuePoll&) { return refused(v1::REFUSAL_CODE_OVERLOADED); });
  auto call = post("/v1/completions", kStreamed);
  EXPECT_EQ(call->status(), 503U);
  EXPECT_EQ(call->header("retry-after"), "7");
  EXPECT_THAT(call->body(), HasSubstr("says the script"));
}

TEST_F(QueueTest, AStreamThatIsRefusedLaterHasAnError) {
  start_with_head(settings());
  script_->queue_requests("s-1", [this](const v1::QueuePoll&) {
    return room_ ? refused(v1::REFUSAL_CODE_OVERLOADED) : ScriptedMesh::queued_at("s-1", 2);
  });
  auto call = post("/v1/completions", kStreamed);
  EXPECT_EQ(call->status(), 200U);
  EXPECT_EQ(call->next_event(), ": queued, 2 before this one, about 2 s");
  room_ = true;
  EXPECT_EQ(next_chunk(*call).at("error").at("code"), 503);
  EXPECT_THAT(metrics(), HasSubstr(R"(rejections_total{reason="overloaded"} 1)"));
}

TEST_F(QueueTest, ATenantWithTooManyRequestsGets429) {
  start_with_head(settings());
  script_->set_answer([](const v1::GenerateRequest&) { return refused(v1::REFUSAL_CODE_TENANT_LIMIT); });
  auto call = post("/v1/completions", kPlain);
  EXPECT_EQ(call->status(), 429U);
  EXPECT_EQ(call->header("retry-after"), "7");
}

TEST_F(QueueTest, ASilentSchedulersRequestIsTakenToAnother) {
  start_with_head(settings());
  script_->queue_requests("s-1", {});
  auto call = post("/v1/completions", kPlain);
  EXPECT_EQ(script_->requests.wait().waited_ms(), 0U);
  EXPECT_EQ(script_->polls.wait().attempt(), 1U);
  script_->set_answer([](const v1::GenerateRequest&) { return ScriptedMesh::placed_on("head-1"); });
  const v1::GenerateRequest second = script_->requests.wait();
  EXPECT_EQ(second.attempt(), 2U);
  EXPECT_GT(second.waited_ms(), 2000U) << "it keeps its place in line";
  EXPECT_EQ(script_->cancels.wait().second.attempt(), 1U) << "it may have been placed at last";
  script_->send("head-1", second, 0, with_end(ids_), kStop, 1, 2);
  EXPECT_EQ(call->status(), 200U);
}

TEST_F(QueueTest, ASchedulerThatIsGoneIsNotWaitedFor) {
  start_with_head(settings());
  script_->set_answer([](const v1::GenerateRequest& request) {
    return request.attempt() == 1 ? ScriptedMesh::queued_at("s-gone", 0) : ScriptedMesh::placed_on("head-1");
  });
  const auto begin = std::chrono::steady_clock::now();
  auto call = post("/v1/completions", kPlain);
  EXPECT_EQ(script_->requests.wait().attempt(), 1U);
  const v1::GenerateRequest second = script_->requests.wait();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(1000));
  EXPECT_EQ(second.attempt(), 2U);
  script_->send("head-1", second, 0, with_end(ids_), kStop, 1, 2);
  EXPECT_EQ(call->status(), 200U);
}

TEST_F(QueueTest, TheWaitHasALimit) {
  gateway::GatewaySettings hasty = settings();
  hasty.placement_ms_max = 100;
  hasty.queue_ms_max = 300;
  start(hasty);
  const auto begin = std::chrono::steady_clock::now();
  auto call = post("/v1/completions", kPlain);
  EXPECT_EQ(call->status(), 503U);
  EXPECT_EQ(call->header("retry-after"), "2");
  EXPECT_THAT(call->body(), HasSubstr("no replica had room for this request in 3"));
  EXPECT_GT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(250));
  for (v1::QueuePoll poll = script_->polls.wait(); !poll.leave();) poll = script_->polls.wait();
}

TEST_F(QueueTest, AClientThatLeavesLeavesTheQueue) {
  start();
  auto call = post("/v1/completions", kPlain);
  const v1::GenerateRequest request = script_->requests.wait();
  script_->polls.wait();
  call->leave();
  v1::QueuePoll poll = script_->polls.wait();
  while (!poll.leave()) poll = script_->polls.wait();
  EXPECT_EQ(poll.request_id(), request.request_id());
}

TEST_F(QueueTest, AModelWhoseHeadsAreGoneIsStillAskedFor) {
  start();
  {
    auto call = post("/v1/completions", kPlain);  // the gateway learns the model's card
    room_ = true;
    script_->send("head-1", script_->requests.wait(), 0, with_end(ids_), kStop);
    EXPECT_EQ(call->status(), 200U);
    room_ = false;
  }
  script_->set_phase("head-1", v1::REPLICA_PHASE_STOPPED);
  while (!HttpCall(gateway_->address(), "GET", "/v1/models").json().at("data").as_array().empty()) {
    std::this_thread::yield();
  }
  auto call = post("/v1/completions", kPlain);
  const v1::GenerateRequest request = script_->requests.wait();
  script_->add_head("head-2");
  script_->queue_requests("s-2", {});
  room_ = true;
  call->leave();
  EXPECT_EQ(request.model(), "nano");
}

}  // namespace
}  // namespace bellwether::testing
