// Requests whose heads, schedulers or tokens are lost on the way, with a scripted mesh behind a real gateway.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "gateway_fixture.h"

namespace bellwether::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace json = boost::json;

constexpr v1::FinishReason kMore = v1::FINISH_REASON_UNSPECIFIED;
constexpr v1::FinishReason kStop = v1::FINISH_REASON_STOP;
constexpr v1::FinishReason kLost = v1::FINISH_REASON_LOST;

class RecoveryTest : public GatewayTest {
 protected:
  static gateway::GatewaySettings settings() {
    gateway::GatewaySettings settings = quick_settings();
    settings.recoveries_max = 3;
    settings.recovery_ms_max = 2000;
    return settings;
  }

  // A stream of completion tokens that "head-1" has begun with the first of `ids_`.
  std::unique_ptr<HttpCall> begin_stream(const std::string& more = "") {
    start_with_head(settings());
    auto call =
        post("/v1/completions", R"({"model":"nano","prompt":"x","stream":true,"seed":7,"max_tokens":50)" + more + "}");
    first_ = script_->requests.wait();
    script_->send("head-1", first_, 0, {ids_[0], ids_[1]});
    EXPECT_EQ(call->status(), 200U);
    text_ += text_of(next_chunk(*call));
    return call;
  }

  static std::string text_of(const json::value& chunk) {
    return std::string(chunk.at("choices").at(0).at("text").as_string());
  }

  // The rest of a stream that ends well.
  void expect_the_whole_text(HttpCall& call) {
    for (;;) {
      const json::value chunk = next_chunk(call);
      ASSERT_FALSE(chunk.as_object().contains("error")) << json::serialize(chunk);
      text_ += text_of(chunk);
      if (!chunk.at("choices").at(0).at("finish_reason").is_null()) break;
    }
    EXPECT_EQ(text_, "zero one two three");
    expect_done(call);
  }

  static std::vector<uint32_t> output_ids(const v1::GenerateRequest& request, int choice = 0) {
    const auto& ids = request.choices(choice).output_ids();
    return {ids.begin(), ids.end()};
  }

  std::vector<uint32_t> rest(size_t begin) const {
    return with_end({ids_.begin() + static_cast<long>(begin), ids_.end()});
  }

  const std::vector<uint32_t> ids_ = encode("zero one two three");
  v1::GenerateRequest first_;
  std::string text_;
};

TEST_F(RecoveryTest, ASilentHeadsStreamGoesOnElsewhere) {
  auto call = begin_stream();
  script_->add_head("head-2");
  script_->silence_head("head-1");
  const v1::GenerateRequest second = script_->requests.wait();
  EXPECT_EQ(second.request_id(), first_.request_id());
  EXPECT_EQ(second.attempt(), 2U);
  EXPECT_EQ(output_ids(second), (std::vector<uint32_t>{ids_[0], ids_[1]}));
  EXPECT_EQ(second.choices(0).seed(), 7U);
  EXPECT_EQ(second.max_tokens(), 50U);
  EXPECT_THAT(second.avoid_replicas(), ElementsAre("head-1"));
  EXPECT_EQ(script_->cancels.wait().first, "head-1") << "it may only have been frozen";
  script_->send("head-1", first_, 2, {ids_[0], ids_[0]}, kMore, 1, 1);  // and wakes up: nobody listens to it any more
  script_->send("head-2", second, 2, rest(2), kStop, 1, 2);
  expect_the_whole_text(*call);
  expect_metric(R"(bellwether_gateway_recoveries_total{reason="replica_gone"} 1)");
}

TEST_F(RecoveryTest, ALostRequestGoesOnAtOnceAndAsOftenAsAllowed) {
  auto call = begin_stream();
  for (uint32_t attempt = 1; attempt <= 3; ++attempt) {
    script_->send("head-1", first_, 2, {}, kLost, 1, attempt);
    EXPECT_EQ(script_->requests.wait().attempt(), attempt + 1);
  }
  script_->send("head-1", first_, 2, {}, kLost, 1, 4);
  const json::value chunk = next_chunk(*call);
  EXPECT_EQ(chunk.at("error").at("code"), 503);
  EXPECT_THAT(std::string(chunk.at("error").at("message").as_string()), HasSubstr("could not go on"));
  expect_done(*call);
}

TEST_F(RecoveryTest, OnlyChoicesThatHaveNotFinishedGoOn) {
  start_with_head(settings());
  auto call = post("/v1/completions", R"({"model":"nano","prompt":"x","n":3,"seed":7,"max_tokens":50})");
  const v1::GenerateRequest first = script_->requests.wait();
  script_->send("head-1", first, 0, with_end(ids_), kStop, 1, 1, 1);
  script_->send("head-1", first, 0, {ids_[0]}, kMore, 1, 1, 2);
  script_->send("head-1", first, 0, {}, kLost, 1, 1, 0);
  const v1::GenerateRequest second = script_->requests.wait();
  ASSERT_EQ(second.choices_size(), 2);
  EXPECT_EQ(second.choices(0).index(), 0U);
  EXPECT_TRUE(output_ids(second, 0).empty());
  EXPECT_EQ(second.choices(1).index(), 2U);
  EXPECT_EQ(second.choices(1).seed(), 9U);
  EXPECT_EQ(output_ids(second, 1), (std::vector<uint32_t>{ids_[0]}));
  script_->send("head-1", second, 0, with_end(ids_), kStop, 1, 2, 0);
  script_->send("head-1", second, 1, rest(1), kStop, 1, 2, 2);
  const json::value reply = call->json();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(reply.at("choices").at(i).at("text").as_string(), "zero one two three") << i;
}

TEST_F(RecoveryTest, PromptLogprobsThatHaveComeAreNotAskedForAgain) {
  start_with_head(settings());
  auto call = post("/v1/completions", R"({"model":"nano","prompt":[5,6,7,8],"prompt_logprobs":1,"max_tokens":50})");
  v1::GenerateRequest request = script_->requests.wait();
  script_->send_prompt_logprobs("head-1", request, 1, {6, 7});
  script_->send("head-1", request, 0, {}, kLost);
  request = script_->requests.wait();
  EXPECT_TRUE(request.has_prompt_logprobs()) << "one is missing";
  script_->send_prompt_logprobs("head-1", request, 1, {6, 7, 8}, 2);
  script_->send("head-1", request, 0, {ids_[0]}, kMore, 1, 2);
  script_->send("head-1", request, 1, {}, kLost, 1, 2);
  request = script_->requests.wait();
  EXPECT_FALSE(request.has_prompt_logprobs());
  script_->send("head-1", request, 1, rest(1), kStop, 1, 3);
  EXPECT_EQ(call->status(), 200U);
  const json::value reply = call->json();
  EXPECT_EQ(reply.at("choices").at(0).at("prompt_logprobs").as_array().size(), 4U);
  EXPECT_EQ(reply.at("choices").at(0).at("text").as_string(), "zero one two three");
}

TEST_F(RecoveryTest, LostTokensAreSentAgain) {
  auto call = begin_stream();
  script_->send("head-1", first_, 3, rest(3), kStop);
  const auto [replica, resend] = script_->resends.wait();
  EXPECT_EQ(replica, "head-1");
  EXPECT_EQ(resend.request_id(), first_.request_id());
  EXPECT_EQ(resend.gateway_id(), first_.gateway_id());
  EXPECT_EQ(resend.attempt(), 1U);
  ASSERT_EQ(resend.from_size(), 1);
  EXPECT_EQ(resend.from(0).next_index(), 2U);
  script_->send("head-1", first_, 2, {ids_[2]});
  expect_the_whole_text(*call);
  EXPECT_EQ(script_->requests.size(), 0U) << "nobody else was asked";
}

TEST_F(RecoveryTest, TokensThatStayLostAreGeneratedElsewhere) {
  auto call = begin_stream();
  script_->add_head("head-2");
  script_->send("head-1", first_, 3, rest(3), kStop);
  const v1::GenerateRequest second = script_->requests.wait();
  EXPECT_EQ(output_ids(second), (std::vector<uint32_t>{ids_[0], ids_[1]}));
  script_->send("head-2", second, 2, rest(2), kStop, 1, 2);
  expect_the_whole_text(*call);
}

TEST_F(RecoveryTest, ASilentStreamIsAskedFor) {
  auto call = begin_stream();
  EXPECT_EQ(script_->resends.wait().second.from(0).next_index(), 2U);
  script_->send("head-1", first_, 2, rest(2), kStop);
  expect_the_whole_text(*call);
}

TEST_F(RecoveryTest, NoReplicaInTimeIsTheClientsError) {
  auto call = begin_stream();
  script_->set_answer([](const v1::GenerateRequest&) {
    v1::GenerateReply reply;
    reply.mutable_refused()->set_code(v1::REFUSAL_CODE_NO_REPLICA);
    reply.mutable_refused()->set_message("none is left");
    return reply;
  });
  const auto begin = std::chrono::steady_clock::now();
  script_->send("head-1", first_, 2, {}, kLost);
  const json::value chunk = next_chunk(*call);  // keep-alives come before
  EXPECT_THAT(std::string(chunk.at("error").at("message").as_string()), HasSubstr("none is left"));
  EXPECT_EQ(chunk.at("error").at("code"), 503);
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_GT(took, std::chrono::milliseconds(1000));
  EXPECT_LT(took, std::chrono::milliseconds(5000));
  EXPECT_GT(script_->requests.size(), 3U) << "it was tried again and again";
}

TEST_F(RecoveryTest, ASchedulerThatDiesWithTheRequestIsAskedAgain) {
  gateway::GatewaySettings patient = settings();
  patient.placement_ms_max = 10'000;
  start_with_head(patient);
  script_->set_answer({});
  auto call = post("/v1/completions", R"({"model":"nano","prompt":"x","stream":true})");
  EXPECT_EQ(script_->requests.wait().attempt(), 1U);
  script_->add_head("head-1");  // its answer
  const v1::GenerateRequest second = script_->requests.wait();
  EXPECT_EQ(second.attempt(), 2U);
  const auto [replica, cancel] = script_->cancels.wait();
  EXPECT_EQ(replica, "head-1") << "it may have been given the first attempt";
  EXPECT_EQ(cancel.attempt(), 1U);
  script_->send("head-1", second, 0, with_end(ids_), kStop, 1, 2);
  expect_the_whole_text(*call);
}

TEST_F(RecoveryTest, AHeadThatWorksForNobodyIsTold) {
  start_with_head(settings());
  v1::GenerateRequest unknown;
  auto call = post("/v1/completions", R"({"model":"nano","prompt":"x","stream":true})");
  const v1::GenerateRequest request = script_->requests.wait();
  unknown.set_request_id("nobody's");
  unknown.set_gateway_id(request.gateway_id());
  script_->send("head-9", unknown, 0, {1}, kStop);  // it has finished: there is nothing to stop
  script_->add_head("head-2");                      // listens for cancels
  script_->send("head-2", unknown, 0, {1});
  const auto [replica, cancel] = script_->cancels.wait();
  EXPECT_EQ(replica, "head-2");
  EXPECT_EQ(cancel.request_id(), "nobody's");
  EXPECT_EQ(script_->cancels.size(), 0U);
  script_->send("head-1", request, 0, with_end(ids_), kStop);
  expect_the_whole_text(*call);
}

TEST_F(RecoveryTest, AClientThatLeavesDuringARecoveryCancelsWhatComesOfIt) {
  auto call = begin_stream();
  std::promise<void> asked;
  std::promise<void> left;
  script_->set_answer([&](const v1::GenerateRequest&) {
    asked.set_value();
    left.get_future().wait();
    v1::GenerateReply reply;
    reply.mutable_placed()->set_replica_id("head-1");
    reply.mutable_placed()->set_epoch(1);
    return reply;
  });
  script_->send("head-1", first_, 2, {}, kLost);
  EXPECT_EQ(script_->cancels.wait().second.attempt(), 1U);
  asked.get_future().wait();
  call->leave();
  expect_metric("bellwether_gateway_clients_gone_total 1");
  left.set_value();
  EXPECT_EQ(script_->cancels.wait().second.attempt(), 2U);
}

}  // namespace
}  // namespace bellwether::testing
