// What is told of requests: metrics by model and status, and traces.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "gateway_fixture.h"
#include "mesh/trace.h"
#include "mesh/trace_collector.h"

namespace bellwether::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kStop = v1::FINISH_REASON_STOP;
const std::string kParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

class ObservedTest : public GatewayTest {
 protected:
  void start_traced() {
    gateway_ = std::make_unique<RunningGateway>(nats_->url(), quick_settings(), 5000, collector_.url());
    script_->add_head("head-1");
    wait_for_model();
  }
  [[nodiscard]] std::unique_ptr<HttpCall> traced_chat(const std::string& more = "") const {
    return post("/v1/chat/completions",
                R"({"model":"nano","messages":[{"role":"user","content":"Hello"}])" + more + "}",
                {"traceparent: " + kParent});
  }
  // The span of the only chat that has a trace of its client's.
  CollectedSpan chat_span() { return collector_.wait_for("POST /v1/chat/completions"); }

  TraceCollector collector_;
};

TEST_F(ObservedTest, HistogramsByModelAndStatus) {
  start_with_head();
  auto call = chat();
  const v1::GenerateRequest request = script_->requests.wait();
  script_->send("head-1", request, 0, with_end(encode("Hi")), kStop);
  EXPECT_EQ(call->status(), 200U);
  const std::string labels = R"({model="nano",status="200"} )";
  const auto prompt_tokens = std::to_string(request.prompt_ids_size());
  expect_metric("bellwether_gateway_request_seconds_count" + labels + "1");
  expect_metric("bellwether_gateway_request_prompt_tokens_sum" + labels + prompt_tokens);
  expect_metric("bellwether_gateway_request_completion_tokens_sum" + labels +
                std::to_string(with_end(encode("Hi")).size()));
  expect_metric(R"(bellwether_gateway_time_to_first_token_seconds_count{model="nano"} 1)");
}

TEST_F(ObservedTest, WhatFailsIsTimedUnderItsStatusAndHasTokensOnlyIfAHeadTookIt) {
  start_with_head();
  EXPECT_EQ(chat(R"(,"continue_final_message":true)")->status(), 400U);
  auto call = chat();
  script_->send("head-1", script_->requests.wait(), 0, {}, v1::FINISH_REASON_ERROR);
  EXPECT_EQ(call->status(), 500U);
  expect_metric(R"(bellwether_gateway_request_seconds_count{model="nano",status="400"} 1)");
  expect_metric(R"(bellwether_gateway_request_seconds_count{model="nano",status="500"} 1)");
  expect_metric(R"(bellwether_gateway_request_prompt_tokens_count{model="nano",status="500"} 1)");
  EXPECT_THAT(metrics(), Not(HasSubstr(R"(request_prompt_tokens_count{model="nano",status="400"})")));
  expect_metric(R"(bellwether_gateway_interruptions_total{reason="replica_error"} 1)");
}

TEST_F(ObservedTest, ARequestIsASpanOfItsClientsTrace) {
  start_traced();
  auto call = traced_chat(R"(,"stream":true)");
  const v1::GenerateRequest request = script_->requests.wait();
  script_->send("head-1", request, 0, with_end(encode("Hi")), kStop);
  EXPECT_THAT(call->body(), HasSubstr("[DONE]"));
  const CollectedSpan span = chat_span();
  EXPECT_EQ(span.service, "bellwether-api-gateway");
  EXPECT_EQ("00-" + span.trace_id + "-" + span.parent_span_id + "-01", kParent);
  EXPECT_EQ(request.traceparent(), "00-" + span.trace_id + "-" + span.span_id + "-01") << "the mesh goes on with it";
  EXPECT_THAT(span.events, ElementsAre("placed", "first token"));
  EXPECT_GT(span.end_unix_ns, span.start_unix_ns);
  EXPECT_FALSE(span.failed);
  EXPECT_EQ(span.attributes.at("http.route"), "/v1/chat/completions");
  EXPECT_EQ(span.attributes.at("http.request.method"), "POST");
  EXPECT_EQ(span.attributes.at("http.response.status_code"), "200");
  EXPECT_EQ(span.attributes.at("bellwether.request_id"), request.request_id());
  EXPECT_EQ(span.attributes.at("gen_ai.request.model"), "nano");
  EXPECT_EQ(span.attributes.at("gen_ai.usage.input_tokens"), std::to_string(request.prompt_ids_size()));
  EXPECT_EQ(span.attributes.at("gen_ai.usage.output_tokens"), "2");
}

TEST_F(ObservedTest, WithoutATraceOneBegins) {
  start_traced();
  auto call = chat();
  const v1::GenerateRequest request = script_->requests.wait();
  script_->send("head-1", request, 0, with_end(encode("Hi")), kStop);
  EXPECT_EQ(call->status(), 200U);
  const CollectedSpan span = chat_span();
  EXPECT_EQ(span.parent_span_id, "");
  EXPECT_EQ(request.traceparent(), "00-" + span.trace_id + "-" + span.span_id + "-01");
}

TEST_F(ObservedTest, AFailureIsTheSpansToo) {
  start_traced();
  auto call = traced_chat();
  script_->send("head-1", script_->requests.wait(), 0, {}, v1::FINISH_REASON_ERROR);
  EXPECT_EQ(call->status(), 500U);
  const CollectedSpan span = chat_span();
  EXPECT_TRUE(span.failed);
  EXPECT_EQ(span.attributes.at("error.type"), "replica_error");
  EXPECT_EQ(span.attributes.at("http.response.status_code"), "500");
}

TEST_F(ObservedTest, AMistakeOfTheClientIsNoFailure) {
  start_traced();
  EXPECT_EQ(traced_chat(R"(,"temperature":-1)")->status(), 400U);
  const CollectedSpan span = chat_span();
  EXPECT_FALSE(span.failed);
  EXPECT_EQ(span.attributes.at("error.type"), "bad_request");
}

TEST_F(ObservedTest, WithoutACollectorTheClientsTraceIsPassedOn) {
  start_with_head();
  auto call = traced_chat();
  const v1::GenerateRequest request = script_->requests.wait();
  EXPECT_EQ(request.traceparent(), kParent);
  script_->send("head-1", request, 0, with_end(encode("Hi")), kStop);
  EXPECT_EQ(call->status(), 200U);
}

TEST_F(ObservedTest, ATraceThatIsNotSampledIsPassedOnAndNotTold) {
  start_traced();
  const std::string unsampled = kParent.substr(0, 53) + "00";
  auto call = post("/v1/chat/completions", R"({"model":"nano","messages":[{"role":"user","content":"Hello"}]})",
                   {"traceparent: " + unsampled});
  const v1::GenerateRequest request = script_->requests.wait();
  EXPECT_EQ(request.traceparent(), unsampled);
  script_->send("head-1", request, 0, with_end(encode("Hi")), kStop);
  EXPECT_EQ(call->status(), 200U);
  EXPECT_EQ(gateway_->stop(), 0);  // sends what there is
  for (const CollectedSpan& span : collector_.wait_for_spans(1)) EXPECT_EQ(span.name, "GET /v1/models");
}

TEST_F(ObservedTest, TheLastSpansAreSentAtTheEnd) {
  start_traced();
  EXPECT_EQ(traced_chat(R"(,"temperature":-1)")->status(), 400U);
  EXPECT_EQ(gateway_->stop(), 0);
  EXPECT_EQ(chat_span().attributes.at("http.response.status_code"), "400");
}

}  // namespace
}  // namespace bellwether::testing
