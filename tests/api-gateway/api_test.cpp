// The gateway over real HTTP and a real bus, with a scripted mesh behind it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "gateway_fixture.h"

namespace bellwether::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
namespace json = boost::json;

constexpr v1::FinishReason kStop = v1::FINISH_REASON_STOP;
constexpr v1::FinishReason kMore = v1::FINISH_REASON_UNSPECIFIED;

class ApiTest : public GatewayTest {
 protected:
  static std::string error_message(HttpCall& call) {
    return std::string(call.json().at("error").at("message").as_string());
  }
};

TEST_F(ApiTest, ChatWithoutStream) {
  start_with_head();
  auto call = chat(R"(,"temperature":0,"seed":5,"max_tokens":50)");
  const v1::GenerateRequest request = script_->requests.wait();
  EXPECT_EQ(std::vector<uint32_t>(request.prompt_ids().begin(), request.prompt_ids().end()),
            encode("<｜begin▁of▁sentence｜><｜User｜>Hello<｜Assistant｜><think>\n"));
  ASSERT_EQ(request.choices_size(), 1);
  EXPECT_EQ(request.choices(0).seed(), 5U);
  EXPECT_EQ(request.max_tokens(), 50U);
  const auto ids = with_end(encode("I wonder.\n</think>\n\nHello to you."));
  script_->send("head-1", request, 0, ids, kStop);
  EXPECT_EQ(call->status(), 200U);
  EXPECT_EQ(call->header("content-type"), "application/json");
  const json::value reply = call->json();
  EXPECT_EQ(reply.at("object").as_string(), "chat.completion");
  const json::value& message = reply.at("choices").at(0).at("message");
  EXPECT_EQ(message.at("content").as_string(), "Hello to you.");
  EXPECT_EQ(message.at("reasoning_content").as_string(), "I wonder.");
  EXPECT_EQ(message.at("reasoning").as_string(), "I wonder.");
  EXPECT_EQ(reply.at("choices").at(0).at("finish_reason").as_string(), "stop");
  EXPECT_EQ(reply.at("usage").at("prompt_tokens"), request.prompt_ids_size());
  EXPECT_EQ(reply.at("usage").at("completion_tokens"), ids.size());
  EXPECT_EQ(reply.at("usage").at("prompt_tokens_details").at("cached_tokens"), 5);
  expect_metric(R"(bellwether_gateway_requests_total{endpoint="/v1/chat/completions",model="nano",status="200"} 1)");
  expect_metric(R"(bellwether_gateway_time_to_first_token_seconds_count{model="nano"} 1)");
}

TEST_F(ApiTest, ChatStreamEventByEvent) {
  start_with_head();
  auto call = chat(R"(,"stream":true,"stream_options":{"include_usage":true})");
  const v1::GenerateRequest request = script_->requests.wait();
  EXPECT_EQ(call->status(), 200U);
  EXPECT_THAT(call->header("content-type"), StartsWith("text/event-stream"));
  EXPECT_EQ(next_chunk(*call).at("choices").at(0).at("delta").at("role").as_string(), "assistant");

  const auto delta_of = [&](uint32_t index, const std::vector<uint32_t>& ids) {
    script_->send("head-1", request, index, ids);
    const json::value chunk = next_chunk(*call);
    EXPECT_TRUE(chunk.at("usage").is_null());
    return chunk.at("choices").at(0).at("delta");
  };
  const auto thought = encode("Hm");
  const auto answer = encode("\n</think>\n\nYes");
  EXPECT_EQ(delta_of(0, thought).at("reasoning_content").as_string(), "Hm");
  EXPECT_EQ(delta_of(static_cast<uint32_t>(thought.size()), answer).at("content").as_string(), "Yes");
  const auto index = static_cast<uint32_t>(thought.size() + answer.size());
  script_->send("head-1", request, index, {1}, kStop);
  EXPECT_EQ(next_chunk(*call).at("choices").at(0).at("finish_reason").as_string(), "stop");
  const json::value usage = next_chunk(*call);
  EXPECT_TRUE(usage.at("choices").as_array().empty());
  EXPECT_EQ(usage.at("usage").at("completion_tokens"), index + 1);
  expect_done(*call);
}

TEST_F(ApiTest, ChoicesOfOneRequestInOneReply) {
  start_with_head();
  auto call = post("/v1/completions", R"({"model":"nano","prompt":"x","n":3,"seed":7,"max_tokens":20})");
  const v1::GenerateRequest request = script_->requests.wait();
  ASSERT_EQ(request.choices_size(), 3);
  EXPECT_EQ(request.choices(2).index(), 2U);
  EXPECT_EQ(request.choices(2).seed(), 9U);
  const auto send = [&](uint32_t choice, uint32_t index, const std::vector<uint32_t>& ids, v1::FinishReason finish) {
    script_->send("head-1", request, index, ids, finish, 1, 1, choice);
  };
  const auto one = encode("one");
  send(2, 0, with_end(encode("three")), kStop);
  send(0, 0, one, kMore);
  send(1, 0, encode("two"), v1::FINISH_REASON_LENGTH);
  send(5, 0, encode("of nobody"), kStop);
  send(0, static_cast<uint32_t>(one.size()), {1}, kStop);
  const json::value reply = call->json();
  ASSERT_EQ(reply.at("choices").as_array().size(), 3U);
  for (const auto& [index, text, finish] :
       {std::tuple{0, "one", "stop"}, std::tuple{1, "two", "length"}, std::tuple{2, "three", "stop"}}) {
    const json::value& choice = reply.at("choices").at(static_cast<size_t>(index));
    EXPECT_EQ(choice.at("index"), index);
    EXPECT_EQ(choice.at("text").as_string(), text);
    EXPECT_EQ(choice.at("finish_reason").as_string(), finish);
  }
  EXPECT_EQ(reply.at("usage").at("prompt_tokens"), request.prompt_ids_size());
  EXPECT_EQ(reply.at("usage").at("completion_tokens"), 2 + one.size() + encode("two").size() + encode("three").size());
  EXPECT_EQ(reply.at("usage").at("prompt_tokens_details").at("cached_tokens"), 5) << "the least of the choices";
}

TEST_F(ApiTest, ChoicesOfOneRequestInOneStream) {
  start_with_head();
  auto call = chat(R"(,"n":2,"stream":true)");
  const v1::GenerateRequest request = script_->requests.wait();
  for (const int index : {0, 1}) {
    const json::value first = next_chunk(*call);
    EXPECT_EQ(first.at("choices").at(0).at("index"), index);
    EXPECT_EQ(first.at("choices").at(0).at("delta").at("role").as_string(), "assistant");
  }
  script_->send("head-1", request, 0, with_end(encode("Hm\n</think>\n\nYes")), kStop, 1, 1, 1);
  const json::value chunk = next_chunk(*call);
  EXPECT_EQ(chunk.at("choices").at(0).at("index"), 1);
  EXPECT_EQ(chunk.at("choices").at(0).at("delta").at("content").as_string(), "Yes");
  const json::value end = next_chunk(*call);
  EXPECT_EQ(end.at("choices").at(0).at("index"), 1);
  EXPECT_EQ(end.at("choices").at(0).at("finish_reason").as_string(), "stop");
  script_->send("head-1", request, 0, with_end(encode("Hm\n</think>\n\nNo")), kStop);
  EXPECT_EQ(next_chunk(*call).at("choices").at(0).at("index"), 0);
  EXPECT_EQ(next_chunk(*call).at("choices").at(0).at("finish_reason").as_string(), "stop");
  expect_done(*call);
}

TEST_F(ApiTest, AStopStringEndsItsChoiceOnly) {
  start_with_head();
  auto call = post("/v1/completions", R"({"model":"nano","prompt":"x","n":2,"stop":"two"})");
  const v1::GenerateRequest request = script_->requests.wait();
  script_->send("head-1", request, 0, encode("one two three"), kMore, 1, 1, 1);
  const auto [replica, cancel] = script_->cancels.wait();
  EXPECT_EQ(replica, "head-1");
  EXPECT_EQ(cancel.request_id(), request.request_id());
  EXPECT_EQ(std::vector<uint32_t>(cancel.choices().begin(), cancel.choices().end()), std::vector<uint32_t>{1});
  script_->send("head-1", request, 0, with_end(encode("four")), kStop);
  const json::value reply = call->json();
  EXPECT_EQ(reply.at("choices").at(0).at("text").as_string(), "four");
  EXPECT_EQ(reply.at("choices").at(1).at("text").as_string(), "one ");
  EXPECT_EQ(script_->cancels.size(), 0U);
}

TEST_F(ApiTest, LogprobsOfThePrompt) {
  start_with_head();
  auto call = post("/v1/completions", R"({"model":"nano","prompt":[0,5,7],"prompt_logprobs":1})");
  const v1::GenerateRequest request = script_->requests.wait();
  EXPECT_EQ(request.prompt_logprobs(), 1U);
  script_->send_prompt_logprobs("head-1", request, 1, {5});
  script_->send_prompt_logprobs("head-1", request, 2, {7});
  script_->send("head-1", request, 0, encode("one"), v1::FINISH_REASON_LENGTH);
  const json::value logprobs = call->json().at("choices").at(0).at("prompt_logprobs");
  ASSERT_EQ(logprobs.as_array().size(), 3U);
  EXPECT_TRUE(logprobs.at(0).is_null());
  EXPECT_EQ(logprobs.at(2).at("7").at("rank"), 1);

  auto incomplete = post("/v1/completions", R"({"model":"nano","prompt":[0,5,7],"prompt_logprobs":1})");
  const v1::GenerateRequest second = script_->requests.wait();
  script_->send_prompt_logprobs("head-1", second, 2, {7});
  script_->send("head-1", second, 0, encode("one"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(incomplete->status(), 500U);
  EXPECT_THAT(error_message(*incomplete), HasSubstr("were lost"));
}

TEST_F(ApiTest, TokensThatOvertakeTheAnswerOfTheScheduler) {
  start_with_head();
  script_->set_answer([this](const v1::GenerateRequest& request) {
    script_->send("head-0", request, 0, encode("another head that was tried before"));
    script_->send("head-1", request, 0, encode("early"));
    v1::GenerateReply reply;
    reply.mutable_placed()->set_replica_id("head-1");
    reply.mutable_placed()->set_epoch(1);
    return reply;
  });
  auto call = post("/v1/completions", R"({"model":"nano","prompt":"x"})");
  const v1::GenerateRequest request = script_->requests.wait();
  script_->send("head-1", request, static_cast<uint32_t>(encode("early").size()), {1}, kStop);
  EXPECT_EQ(call->json().at("choices").at(0).at("text").as_string(), "early");
}

TEST_F(ApiTest, DisorderOtherAttemptsAndOtherEpochsDoNotShow) {
  start_with_head();
  auto call = post("/v1/completions", R"({"model":"nano","prompt":"x","stream":true})");
  const v1::GenerateRequest request = script_->requests.wait();
  EXPECT_EQ(call->status(), 200U);
  const auto ids = encode("zero one two three");
  ASSERT_GE(ids.size(), 4U);
  script_->send("head-1", request, 0, encode("other epoch"), kMore, 2);
  script_->send("head-1", request, 0, encode("other attempt"), kMore, 1, 2);
  script_->send("head-2", request, 0, encode("other head"));
  script_->send("head-1", request, 1, {ids.begin() + 1, ids.begin() + 3});
  script_->send("head-1", request, 0, {ids[0]});
  script_->send("head-1", request, 0, {ids[0], ids[1]});
  script_->send("head-1", request, 3, with_end({ids.begin() + 3, ids.end()}), kStop);
  std::string text;
  for (;;) {
    const json::value chunk = next_chunk(*call);
    text += chunk.at("choices").at(0).at("text").as_string();
    if (!chunk.at("choices").at(0).at("finish_reason").is_null()) break;
  }
  EXPECT_EQ(text, "zero one two three");
  expect_done(*call);
}

TEST_F(ApiTest, LostTokensEndTheStreamWithAnError) {
  start_with_head();
  auto call = post("/v1/completions", R"({"model":"nano","prompt":"x","stream":true})");
  const v1::GenerateRequest request = script_->requests.wait();
  const auto ids = encode("zero one two");
  script_->send("head-1", request, 0, {ids[0]});
  const auto begin = std::chrono::steady_clock::now();
  script_->send("head-1", request, 2, {ids.begin() + 2, ids.end()});
  (void)next_chunk(*call);
  const json::value chunk = next_chunk(*call);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  EXPECT_THAT(std::string(chunk.at("error").at("message").as_string()), HasSubstr("from number 1 on were lost"));
  expect_done(*call);
  EXPECT_EQ(script_->cancels.wait().first, "head-1");
  expect_metric(R"(bellwether_gateway_interruptions_total{reason="tokens_lost"} 1)");
}

TEST_F(ApiTest, AClientThatLeavesCancelsAtTheHead) {
  start_with_head();
  for (const char* stream : {"true", "false"}) {
    auto call = chat(std::string(",\"stream\":") + stream);
    const v1::GenerateRequest request = script_->requests.wait();
    script_->send("head-1", request, 0, encode("Hm"));
    if (stream == std::string("true")) {
      (void)next_chunk(*call);  // its role
      (void)next_chunk(*call);  // "Hm": tokens that come after the client has left would be cancelled once more
    }
    call->leave();
    auto cancelled = script_->cancels.wait();
    // Tokens that come after the cancel bring another one.
    while (cancelled.second.request_id() != request.request_id()) cancelled = script_->cancels.wait();
    EXPECT_EQ(cancelled.first, "head-1");
    EXPECT_EQ(cancelled.second.attempt(), 1U);
  }
  expect_metric("bellwether_gateway_clients_gone_total 2");
}

TEST_F(ApiTest, AClientThatLeavesBeforeItsRequestIsPlacedCancelsToo) {
  gateway::GatewaySettings settings = quick_settings();
  settings.placement_ms_max = 10'000;
  start_with_head(settings);
  HttpCall* waiting = nullptr;
  std::promise<void> called;
  script_->set_answer([&](const v1::GenerateRequest&) {
    called.get_future().wait();
    waiting->leave();
    // Long enough for the gateway to see the connection end before it sees the answer; either order must work.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    v1::GenerateReply reply;
    reply.mutable_placed()->set_replica_id("head-1");
    reply.mutable_placed()->set_epoch(1);
    return reply;
  });
  auto call = chat();
  waiting = call.get();
  called.set_value();
  const v1::GenerateRequest request = script_->requests.wait();
  EXPECT_EQ(script_->cancels.wait().second.request_id(), request.request_id());
}

TEST_F(ApiTest, AStopStringEndsTheTextAndCancels) {
  start_with_head();
  auto call = post("/v1/completions", R"({"model":"nano","prompt":"x","stop":["two"],"max_tokens":50})");
  const v1::GenerateRequest request = script_->requests.wait();
  const auto ids = encode("one two three");
  for (uint32_t i = 0; i < ids.size(); ++i) script_->send("head-1", request, i, {ids[i]});
  const json::value reply = call->json();
  EXPECT_EQ(reply.at("choices").at(0).at("text").as_string(), "one ");
  EXPECT_EQ(reply.at("choices").at(0).at("finish_reason").as_string(), "stop");
  EXPECT_LT(reply.at("usage").at("completion_tokens").as_int64(), static_cast<int64_t>(ids.size()));
  EXPECT_EQ(script_->cancels.wait().second.request_id(), request.request_id());
}

TEST_F(ApiTest, AHeadThatFallsSilentEndsItsStreamsOnly) {
  start_with_head();
  auto doomed = chat(R"(,"stream":true)");
  const v1::GenerateRequest first = script_->requests.wait();
  EXPECT_EQ(doomed->status(), 200U);
  script_->add_head("head-2");
  auto safe = chat(R"(,"stream":true)");
  const v1::GenerateRequest second = script_->requests.wait();
  EXPECT_EQ(safe->status(), 200U);
  (void)next_chunk(*doomed);
  const auto begin = std::chrono::steady_clock::now();
  script_->silence_head("head-1");
  const json::value chunk = next_chunk(*doomed);
  EXPECT_THAT(std::string(chunk.at("error").at("message").as_string()),
              HasSubstr("the replica that served this request is gone"));
  EXPECT_EQ(chunk.at("error").at("code"), 503);
  expect_done(*doomed);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(3));

  (void)next_chunk(*safe);
  script_->send("head-2", second, 0, {1}, kStop);
  EXPECT_EQ(next_chunk(*safe).at("choices").at(0).at("finish_reason").as_string(), "stop");
}

TEST_F(ApiTest, AFailedHeadEndsItsRequestsAtOnce) {
  start_with_head();
  auto call = chat();
  (void)script_->requests.wait();
  script_->set_phase("head-1", v1::REPLICA_PHASE_FAILED);
  EXPECT_EQ(call->status(), 503U);
  EXPECT_EQ(call->header("retry-after"), "1");
  EXPECT_EQ(error_message(*call), "the replica that served this request is gone");
}

TEST_F(ApiTest, AnErrorOfTheHeadReachesTheClientWithoutItsWords) {
  start_with_head();
  auto call = chat();
  script_->send("head-1", script_->requests.wait(), 0, {}, v1::FINISH_REASON_ERROR);
  EXPECT_EQ(call->status(), 500U);
  EXPECT_THAT(error_message(*call), HasSubstr("the gateway's log has the reason"));
}

TEST_F(ApiTest, RefusalsBecomeTypedErrors) {
  start_with_head();
  struct Case {
    v1::RefusalCode code;
    uint32_t retry_after_ms;
    unsigned status;
    const char* retry_after;
  };
  for (const Case& each : {Case{v1::REFUSAL_CODE_OVERLOADED, 2500, 503, "3"},
                           {v1::REFUSAL_CODE_NO_REPLICA, 0, 503, "1"},
                           {v1::REFUSAL_CODE_DRAINING, 100, 503, "1"},
                           {v1::REFUSAL_CODE_INVALID, 0, 400, ""}}) {
    script_->set_answer([&](const v1::GenerateRequest&) {
      v1::GenerateReply reply;
      reply.mutable_refused()->set_code(each.code);
      reply.mutable_refused()->set_message("not today");
      reply.mutable_refused()->set_retry_after_ms(each.retry_after_ms);
      return reply;
    });
    auto call = chat(R"(,"stream":true)");
    EXPECT_EQ(call->status(), each.status);
    EXPECT_EQ(call->header("retry-after"), each.retry_after);
    EXPECT_EQ(error_message(*call), "not today");
    (void)script_->requests.wait();
  }
  expect_metric(R"(bellwether_gateway_rejections_total{reason="overloaded"} 1)");
}

TEST_F(ApiTest, ASchedulerThatDoesNotAnswerInTime) {
  start_with_head();
  script_->set_answer(nullptr);
  auto call = chat();
  EXPECT_EQ(call->status(), 503U);
  EXPECT_EQ(call->header("retry-after"), "1");
  // It may have passed the request on.
  EXPECT_EQ(script_->cancels.wait().second.request_id(), script_->requests.wait().request_id());
}

TEST_F(ApiTest, ModelsThatAreNotThere) {
  start_gateway();
  auto early = chat();
  EXPECT_EQ(early->status(), 503U);
  EXPECT_EQ(early->header("retry-after"), "1");

  script_->add_head("head-1");
  wait_for_model();
  auto unknown = post("/v1/chat/completions", R"({"model":"gpt-9","messages":[{"role":"user","content":"x"}]})");
  EXPECT_EQ(unknown->status(), 404U);
  EXPECT_EQ(unknown->json().at("error").at("param").as_string(), "model");
  EXPECT_THAT(error_message(*unknown), HasSubstr("`gpt-9` does not exist; available: nano"));

  script_->set_phase("head-1", v1::REPLICA_PHASE_STOPPED);
  auto gone = chat();
  EXPECT_EQ(gone->status(), 503U);
  EXPECT_EQ(gone->header("retry-after"), "1");
}

TEST_F(ApiTest, BadBodiesAreAnsweredWith400) {
  start_with_head();
  auto malformed = post("/v1/chat/completions", "{nonsense");
  EXPECT_EQ(malformed->status(), 400U);
  EXPECT_TRUE(malformed->json().at("error").at("param").is_null());
  auto field = post("/v1/chat/completions", R"({"model":"nano","messages":[{"role":"user","content":7}]})");
  EXPECT_EQ(field->status(), 400U);
  EXPECT_EQ(field->json().at("error").at("param").as_string(), "messages[0].content");
  EXPECT_EQ(field->json().at("error").at("type").as_string(), "invalid_request_error");
  auto large = post("/v1/completions", R"({"model":"nano","prompt":")" + std::string(400'000, 'x') + "\"}");
  EXPECT_EQ(large->status(), 400U);
  EXPECT_THAT(error_message(*large), HasSubstr("context holds 8192 tokens"));
}

TEST_F(ApiTest, RequestIds) {
  start_with_head();
  auto given = post("/v1/chat/completions", "{", {"X-Request-Id: mine-1"});
  EXPECT_EQ(given->header("x-request-id"), "mine-1");
  auto made = post("/v1/chat/completions", "{", {"X-Request-Id: not mine"});
  EXPECT_THAT(made->header("x-request-id"), StartsWith("req-"));
  auto call = post("/v1/completions", R"({"model":"nano","prompt":"x","stream":true})", {"X-Request-Id: mine-2"});
  const v1::GenerateRequest request = script_->requests.wait();
  EXPECT_THAT(request.request_id(), StartsWith("mine-2-"));
  EXPECT_EQ(call->header("x-request-id"), "mine-2");
  HttpCall models(gateway_->address(), "GET", "/v1/models");
  EXPECT_THAT(models.header("x-request-id"), StartsWith("req-"));
}

TEST_F(ApiTest, Models) {
  start_with_head();
  HttpCall call(gateway_->address(), "GET", "/v1/models");
  const json::value reply = call.json();
  EXPECT_EQ(reply.at("object").as_string(), "list");
  const json::value& model = reply.at("data").at(0);
  EXPECT_EQ(model.at("id").as_string(), "nano");
  EXPECT_EQ(model.at("object").as_string(), "model");
  EXPECT_EQ(model.at("max_model_len"), 8192);
}

TEST_F(ApiTest, OneModelByItsName) {
  start_with_head();
  HttpCall call(gateway_->address(), "GET", "/v1/models/nano");
  EXPECT_EQ(call.json().at("id"), "nano");
  HttpCall unknown(gateway_->address(), "GET", "/v1/models/deep%2Fseek/r1");
  EXPECT_EQ(unknown.status(), 404U);
  EXPECT_THAT(error_message(unknown), HasSubstr("`deep/seek/r1` does not exist"));
  EXPECT_EQ(HttpCall(gateway_->address(), "GET", "/v1/models/").status(), 404U);
}

TEST_F(ApiTest, ReadyOnceAModelIs) {
  start_gateway();
  HttpCall early(gateway_->address(), "GET", "/ready");
  EXPECT_EQ(early.status(), 503U);
  EXPECT_EQ(early.header("retry-after"), "1");
  script_->add_head("head-1");
  wait_for_model();
  EXPECT_EQ(HttpCall(gateway_->address(), "GET", "/ready").status(), 200U);
  script_->set_phase("head-1", v1::REPLICA_PHASE_STOPPED);
  while (HttpCall(gateway_->address(), "GET", "/ready").status() == 200U) {
  }
  EXPECT_THAT(HttpCall(gateway_->address(), "GET", "/ready").body(), HasSubstr("no model is served"));
  EXPECT_EQ(HttpCall(gateway_->address(), "GET", "/health").status(), 200U) << "it lives";
  EXPECT_EQ(HttpCall(gateway_->address(), "GET", "/version").json().at("version").as_string(), BELLWETHER_VERSION);
}

TEST_F(ApiTest, TextToIdsAndBack) {
  start_with_head();
  const json::value plain = post("/tokenize", R"({"prompt":"one two","return_token_strs":true})")->json();
  const auto ids = encode("<｜begin▁of▁sentence｜>one two");
  EXPECT_EQ(plain.at("tokens"), json::array(ids.begin(), ids.end())) << "the only model, where none is named";
  EXPECT_EQ(plain.at("count"), ids.size());
  EXPECT_EQ(plain.at("max_model_len"), 8192);
  EXPECT_EQ(plain.at("token_strs").at(0), "<｜begin▁of▁sentence｜>");
  const json::value bare =
      post("/tokenize", R"({"model":"nano","prompt":"one two","add_special_tokens":false})")->json();
  EXPECT_EQ(bare.at("count"), ids.size() - 1);
  const json::value chat = post("/tokenize", R"({"messages":[{"role":"user","content":"Hello"}]})")->json();
  const auto chat_ids = encode("<｜begin▁of▁sentence｜><｜User｜>Hello<｜Assistant｜><think>\n");
  EXPECT_EQ(chat.at("tokens"), json::array(chat_ids.begin(), chat_ids.end()));
  EXPECT_TRUE(chat.at("token_strs").is_null());
  const json::value text = post("/detokenize", R"({"tokens":)" + json::serialize(chat.at("tokens")) + "}")->json();
  EXPECT_EQ(text.at("prompt").as_string(), "<｜begin▁of▁sentence｜><｜User｜>Hello<｜Assistant｜><think>\n");
  for (const auto& [path, body, param] : {std::tuple{"/tokenize", "{}", "prompt"},
                                          {"/tokenize", R"({"prompt":"x","messages":[]})", "messages"},
                                          {"/detokenize", "{}", "tokens"},
                                          {"/detokenize", R"({"tokens":[1,-1]})", "tokens[1]"},
                                          {"/detokenize", R"({"tokens":[99999999]})", "tokens"}}) {
    auto refused = post(path, body);
    EXPECT_EQ(refused->status(), 400U) << body;
    EXPECT_EQ(refused->json().at("error").at("param").as_string(), param) << body;
  }
}

TEST_F(ApiTest, SeveralPromptsOfOneRequest) {
  start_with_head();
  auto call = post("/v1/completions", R"({"model":"nano","prompt":["one",[5,7]],"n":2,"seed":3,"max_tokens":20})");
  const v1::GenerateRequest first = script_->requests.wait();
  const v1::GenerateRequest second = script_->requests.wait();
  EXPECT_NE(first.request_id(), second.request_id());
  EXPECT_THAT(std::vector<uint32_t>(second.prompt_ids().begin(), second.prompt_ids().end()),
              ::testing::ElementsAre(5, 7));
  EXPECT_EQ(second.choices(1).seed(), 4U);
  // Prompt by prompt, each with its choices, whatever the order in which they end.
  script_->send("head-1", second, 0, with_end(encode("d")), kStop, 1, 1, 1);
  script_->send("head-1", second, 0, with_end(encode("c")), kStop);
  script_->send("head-1", first, 0, with_end(encode("b")), kStop, 1, 1, 1);
  script_->send("head-1", first, 0, with_end(encode("a")), kStop);
  const json::value reply = call->json();
  ASSERT_EQ(reply.at("choices").as_array().size(), 4U);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(reply.at("choices").at(i).at("index"), i);
    EXPECT_EQ(reply.at("choices").at(i).at("text").as_string(), std::string(1, static_cast<char>('a' + i)));
  }
  EXPECT_EQ(reply.at("usage").at("prompt_tokens"), first.prompt_ids_size() + second.prompt_ids_size());
  EXPECT_EQ(reply.at("usage").at("completion_tokens"), 8);
  EXPECT_EQ(reply.at("usage").at("prompt_tokens_details").at("cached_tokens"), 10) << "5 of each prompt";
  EXPECT_EQ(script_->cancels.size(), 0U);
}

TEST_F(ApiTest, AClientThatLeavesCancelsAllItsPrompts) {
  start_with_head();
  auto call = post("/v1/completions", R"({"model":"nano","prompt":["one","two"],"stream":true})");
  const std::set<std::string> asked = {script_->requests.wait().request_id(), script_->requests.wait().request_id()};
  EXPECT_EQ(call->status(), 200U);
  call->leave();
  const std::set<std::string> cancelled = {script_->cancels.wait().second.request_id(),
                                           script_->cancels.wait().second.request_id()};
  EXPECT_EQ(cancelled, asked);
}

TEST_F(ApiTest, AnEchoOfThePromptWithItsLogprobs) {
  start_with_head();
  auto call =
      post("/v1/completions", R"({"model":"nano","prompt":[0,5,7],"echo":true,"logprobs":1,"n":2,"max_tokens":0})");
  const v1::GenerateRequest request = script_->requests.wait();
  EXPECT_EQ(request.prompt_logprobs(), 1U);
  EXPECT_EQ(request.max_tokens(), 1U);
  script_->send("head-1", request, 0, encode("x"), v1::FINISH_REASON_LENGTH, 1, 1, 1);
  script_->send_prompt_logprobs("head-1", request, 1, {5, 7});
  script_->send("head-1", request, 0, encode("x"), v1::FINISH_REASON_LENGTH);
  const json::value reply = call->json();
  for (const size_t choice : {0, 1}) {
    const json::value& logprobs = reply.at("choices").at(choice).at("logprobs");
    EXPECT_EQ(logprobs.at("tokens").as_array().size(), 3U);
    EXPECT_TRUE(logprobs.at("token_logprobs").at(0).is_null());
    EXPECT_EQ(logprobs.at("token_logprobs").at(2).to_number<double>(), 0);
  }
  EXPECT_THAT(std::string(reply.at("choices").at(0).at("text").as_string()), StartsWith("<｜begin▁of▁sentence｜>"));
  EXPECT_EQ(reply.at("usage").at("completion_tokens"), 0);
}

TEST_F(ApiTest, ToolCallsAreStreamedAsTheyAreWritten) {
  start_with_head();
  auto call = chat(R"(,"stream":true,"tools":[{"type":"function","function":{"name":"add"}}])");
  const v1::GenerateRequest request = script_->requests.wait();
  (void)next_chunk(*call);
  uint32_t index = 0;
  const auto delta_of = [&](const std::string& text) {
    const auto ids = encode(text);
    script_->send("head-1", request, index, ids);
    index += static_cast<uint32_t>(ids.size());
    return next_chunk(*call).at("choices").at(0).at("delta");
  };
  const json::value begin =
      delta_of("Hm\n</think>\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{\"a\"");
  EXPECT_EQ(begin.at("reasoning_content"), "Hm");
  EXPECT_EQ(begin.at("tool_calls").at(0).at("function").at("name"), "add");
  const json::value more = delta_of(": 1");
  EXPECT_EQ(more.at("tool_calls").at(0).at("index"), 0);
  EXPECT_FALSE(more.at("tool_calls").at(0).as_object().contains("id"));
  EXPECT_EQ(more.at("tool_calls").at(0).at("function").at("arguments"), ": 1");
  const json::value rest = delta_of("}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>");
  EXPECT_EQ(rest.at("tool_calls").at(0).at("function").at("arguments"), "}");
  script_->send("head-1", request, index, {1}, kStop);
  EXPECT_EQ(next_chunk(*call).at("choices").at(0).at("finish_reason"), "tool_calls");
  expect_done(*call);
}

TEST_F(ApiTest, DraftsAndReasoningAreInTheUsage) {
  start_with_head();
  auto call = chat();
  const v1::GenerateRequest request = script_->requests.wait();
  const auto thought = encode("Hm\n</think>");
  auto ids = thought;
  for (const uint32_t id : with_end(encode("\n\nYes"))) ids.push_back(id);
  script_->send("head-1", request, 0, ids, kStop);
  const json::value details = call->json().at("usage").at("completion_tokens_details");
  EXPECT_EQ(details.at("reasoning_tokens"), thought.size());
  EXPECT_EQ(details.at("draft_tokens"), 3);
  EXPECT_EQ(details.at("draft_tokens_accepted"), 2);
}

TEST_F(ApiTest, AnthropicsMessages) {
  start_with_head();
  const std::string body = R"({"model":"nano","max_tokens":9,"messages":[{"role":"user","content":"Hello"}])";
  auto call = post("/v1/messages", body + "}");
  const v1::GenerateRequest request = script_->requests.wait();
  EXPECT_EQ(request.max_tokens(), 9U);
  script_->send("head-1", request, 0, with_end(encode("Hm\n</think>\n\nYes")), kStop);
  const json::value reply = call->json();
  EXPECT_EQ(reply.at("content").at(1).at("text"), "Yes");
  EXPECT_EQ(reply.at("stop_reason"), "end_turn");
  EXPECT_EQ(post("/v1/messages/count_tokens", body + "}")->json().at("input_tokens"), request.prompt_ids_size());
  auto bad = post("/v1/messages", "{}");
  EXPECT_EQ(bad->status(), 400U);
  EXPECT_EQ(bad->json().at("type"), "error");
}

TEST_F(ApiTest, ALastMessageIsCarriedOn) {
  start_with_head();
  const std::string messages = R"([{"role":"user","content":"Hello"},{"role":"assistant","content":"Hi, I")";
  for (const auto& [path, more] : {std::pair{"/v1/chat/completions", R"(,"continue_final_message":true})"},
                                   {"/v1/messages", R"(,"max_tokens":9})"}}) {
    auto call = post(path, R"({"model":"nano","messages":)" + messages + "}]" + more);
    const v1::GenerateRequest request = script_->requests.wait();
    EXPECT_EQ(std::vector<uint32_t>(request.prompt_ids().begin(), request.prompt_ids().end()),
              encode("<｜begin▁of▁sentence｜><｜User｜>Hello<｜Assistant｜>Hi, I"));
    script_->send("head-1", request, 0, with_end(encode(" am")), kStop);
    EXPECT_THAT(call->body(), HasSubstr("\" am\"")) << "an answer, not reasoning";
  }
  auto refused = post("/v1/chat/completions", R"({"model":"nano","messages":[{"role":"user","content":"Hello"}],
      "continue_final_message":true})");
  EXPECT_EQ(refused->status(), 400U);
  EXPECT_EQ(refused->json().at("error").at("param"), "messages");
}

TEST_F(ApiTest, ResponsesWholeAndStreamed) {
  start_with_head();
  const std::string body = R"({"model":"nano","max_output_tokens":9,"instructions":"S","input":"Hello")";
  auto call = post("/v1/responses", body + R"(,"include":["message.output_text.logprobs"]})");
  const v1::GenerateRequest request = script_->requests.wait();
  EXPECT_EQ(std::vector<uint32_t>(request.prompt_ids().begin(), request.prompt_ids().end()),
            encode("<｜begin▁of▁sentence｜>S<｜User｜>Hello<｜Assistant｜><think>\n"));
  EXPECT_EQ(request.max_tokens(), 9U);
  const auto thought = encode("Hm\n</think>");
  const auto answer = encode("\n\nYes");
  auto ids = thought;
  ids.insert(ids.end(), answer.begin(), answer.end());
  script_->send("head-1", request, 0, with_end(ids), kStop);
  const json::value reply = call->json();
  EXPECT_EQ(reply.at("object"), "response");
  EXPECT_EQ(reply.at("status"), "completed");
  EXPECT_EQ(reply.at("instructions"), "S");
  EXPECT_EQ(reply.at("output").at(0).at("content").at(0).at("text"), "Hm");
  const json::value& text = reply.at("output").at(1).at("content").at(0);
  EXPECT_EQ(text.at("text"), "Yes");
  EXPECT_EQ(text.at("logprobs").as_array().size(), answer.size());
  EXPECT_EQ(reply.at("usage").at("output_tokens_details").at("reasoning_tokens"), thought.size());

  auto streamed = post("/v1/responses", body + R"(,"stream":true})");
  const v1::GenerateRequest second = script_->requests.wait();
  script_->send("head-1", second, 0, ids, v1::FINISH_REASON_LENGTH);
  EXPECT_THAT(streamed->header("content-type"), StartsWith("text/event-stream"));
  EXPECT_THAT(streamed->next_event().value_or(""), StartsWith("event: response.created\ndata: {"));
  std::string last;
  while (const auto event = streamed->next_event()) last = *event;
  EXPECT_THAT(last, StartsWith("event: response.incomplete\ndata: {"));
  auto bad = post("/v1/responses", R"({"model":"nano"})");
  EXPECT_EQ(bad->status(), 400U);
  EXPECT_EQ(bad->json().at("error").at("param"), "input");
}

TEST_F(ApiTest, TheCardIsFetchedOnce) {
  start_with_head();
  for (int i = 0; i < 3; ++i) {
    auto call = chat();
    script_->send("head-1", script_->requests.wait(), 0, {1}, kStop);
    EXPECT_EQ(call->status(), 200U);
  }
  EXPECT_EQ(script_->card_requests.size(), 1U);
}

TEST_F(ApiTest, SilentStreamsCarryKeepAlives) {
  start_with_head();
  auto call = chat(R"(,"stream":true)");
  const v1::GenerateRequest request = script_->requests.wait();
  (void)next_chunk(*call);
  EXPECT_EQ(call->next_event(), ": keep-alive");
  script_->send("head-1", request, 0, {1}, kStop);
  EXPECT_EQ(next_chunk(*call).at("choices").at(0).at("finish_reason").as_string(), "stop");
  expect_done(*call);
}

TEST_F(ApiTest, NothingWaitsForEver) {
  gateway::GatewaySettings settings = quick_settings();
  settings.first_token_ms_max = 200;
  settings.token_gap_ms_max = 100;
  start_with_head(settings);
  auto never = chat();
  EXPECT_EQ(never->status(), 504U);
  EXPECT_THAT(error_message(*never), HasSubstr("first token did not come within 200 ms"));
  (void)script_->requests.wait();
  (void)script_->cancels.wait();
  auto stuck = chat();
  script_->send("head-1", script_->requests.wait(), 0, encode("Hm"));
  EXPECT_EQ(stuck->status(), 504U);
  EXPECT_THAT(error_message(*stuck), HasSubstr("no token came for 100 ms"));
  (void)script_->cancels.wait();
}

TEST_F(ApiTest, StreamsAreBounded) {
  gateway::GatewaySettings settings = quick_settings();
  settings.streams_max = 1;
  start_with_head(settings);
  auto first = chat();
  const v1::GenerateRequest request = script_->requests.wait();
  auto second = chat();
  EXPECT_EQ(second->status(), 503U);
  EXPECT_EQ(second->header("retry-after"), "1");
  script_->send("head-1", request, 0, {1}, kStop);
  EXPECT_EQ(first->status(), 200U);
  // Its place is free again, as soon as the gateway has seen its own reply go out.
  script_->set_answer([this](const v1::GenerateRequest& next) {
    script_->send("head-1", next, 0, {1}, kStop);
    v1::GenerateReply reply;
    reply.mutable_placed()->set_replica_id("head-1");
    reply.mutable_placed()->set_epoch(1);
    return reply;
  });
  unsigned status = 503;
  for (int tries = 0; tries < 100 && status == 503; ++tries) status = chat()->status();
  EXPECT_EQ(status, 200U);
}

TEST_F(ApiTest, Logprobs) {
  start_with_head();
  auto call = post("/v1/completions", R"({"model":"nano","prompt":"x","logprobs":1})");
  const v1::GenerateRequest request = script_->requests.wait();
  script_->send("head-1", request, 0, with_end(encode("one two")), kStop);
  const json::value logprobs = call->json().at("choices").at(0).at("logprobs");
  EXPECT_EQ(logprobs.at("tokens").as_array().size(), encode("one two").size());
  EXPECT_EQ(logprobs.at("token_logprobs").at(0).to_number<double>(), -0.5);
}

TEST_F(ApiTest, StreamsOutliveARestartOfTheBus) {
  NatsServer nats;
  script_ = std::make_unique<ScriptedMesh>(nats.url());
  gateway_ = std::make_unique<RunningGateway>(nats.url(), quick_settings());
  script_->add_head("head-1");
  wait_for_model();
  auto call = chat(R"(,"stream":true)");
  const v1::GenerateRequest request = script_->requests.wait();
  (void)next_chunk(*call);
  nats.kill();
  auto meanwhile = chat();
  EXPECT_EQ(meanwhile->status(), 503U);
  // Longer than a head may be silent.
  std::this_thread::sleep_for(gateway::ModelDirectory::kSilenceMax + std::chrono::milliseconds(300));
  nats.start();
  const auto back = [&] {
    return script_->connected() && HttpCall(gateway_->address(), "GET", "/ready").status() == 200U;
  };
  while (!back()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  script_->send("head-1", request, 0, {1}, kStop);
  EXPECT_EQ(next_chunk(*call).at("choices").at(0).at("finish_reason").as_string(), "stop");
  expect_done(*call);
}

TEST_F(ApiTest, ShutdownLetsStreamsFinish) {
  start_with_head();
  auto call = chat(R"(,"stream":true)");
  const v1::GenerateRequest request = script_->requests.wait();
  (void)next_chunk(*call);
  gateway_->begin_stop();
  unsigned status = 0;
  while ((status = post("/v1/completions", "{")->status()) == 400U) {
  }
  EXPECT_EQ(status, 503U);
  script_->send("head-1", request, 0, {1}, kStop);
  EXPECT_EQ(next_chunk(*call).at("choices").at(0).at("finish_reason").as_string(), "stop");
  expect_done(*call);
  EXPECT_EQ(gateway_->stop(), 0);
}

TEST_F(ApiTest, ShutdownEndsWhatDoesNotFinish) {
  gateway_ = std::make_unique<RunningGateway>(nats_->url(), quick_settings(), 800);
  script_->add_head("head-1");
  wait_for_model();
  auto call = chat(R"(,"stream":true)");
  (void)script_->requests.wait();
  (void)next_chunk(*call);
  gateway_->begin_stop();
  const json::value chunk = next_chunk(*call);
  EXPECT_THAT(std::string(chunk.at("error").at("message").as_string()), HasSubstr("shutting down"));
  EXPECT_EQ(gateway_->stop(), 0);
}

}  // namespace
}  // namespace bellwether::testing
