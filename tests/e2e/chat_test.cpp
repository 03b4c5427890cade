// What clients ask for, answered as the reference has it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <string>
#include <vector>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>

#include "e2e/http_client.h"
#include "e2e/reference.h"
#include "e2e/shared_mesh.h"

namespace bellwether::e2e {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string chat_url() {
  return shared_mesh().url() + "/v1/chat/completions";
}

std::string text(const json::value& value) {
  return value.is_string() ? json::value_to<std::string>(value) : "";
}

void expect_usage(const json::value& usage, const ReferenceCase& expected) {
  EXPECT_EQ(usage.at("prompt_tokens"), expected.prompt_tokens);
  EXPECT_EQ(usage.at("completion_tokens"), expected.completion_tokens);
  EXPECT_EQ(usage.at("total_tokens"), expected.prompt_tokens + expected.completion_tokens);
}

void expect_stream(const StreamedReply& reply, const ReferenceCase& expected) {
  EXPECT_EQ(reply.status, 200) << reply.error;
  EXPECT_EQ(reply.error, "");
  EXPECT_EQ(reply.reasoning, expected.reasoning);
  EXPECT_EQ(reply.content, expected.content);
  EXPECT_THAT(reply.finish_reasons, ElementsAre("stop"));
  EXPECT_TRUE(reply.done);
  ASSERT_TRUE(reply.usage);
  expect_usage(*reply.usage, expected);
}

TEST(Chat, AnswersTheArticlesRequest) {
  const Reply reply = http_post(chat_url(), reference_cases()[0].request(false));
  ASSERT_EQ(reply.status, 200) << reply.body;
  const json::value answer = reply.json();
  const json::value& message = answer.at("choices").at(0).at("message");
  EXPECT_THAT(text(message.at("content")), HasSubstr("Los Angeles Dodgers"));
  EXPECT_EQ(text(message.at("content")), reference_cases()[0].content);
  EXPECT_EQ(text(message.at("reasoning_content")), reference_cases()[0].reasoning);
  EXPECT_EQ(answer.at("choices").at(0).at("finish_reason"), "stop");
  EXPECT_EQ(answer.at("usage").at("prompt_tokens"), 23);
  EXPECT_EQ(answer.at("usage").at("completion_tokens"), 73);
  EXPECT_EQ(answer.at("model"), kModel);
  EXPECT_EQ(answer.at("object"), "chat.completion");
}

TEST(Chat, StreamsTheArticlesRequest) {
  const StreamedReply reply = http_stream(chat_url(), reference_cases()[0].request(true));
  expect_stream(reply, reference_cases()[0]);
  EXPECT_THAT(reply.content_type, StartsWith("text/event-stream"));
  EXPECT_GT(reply.text_events, 10) << "tokens come as they are made";
}

TEST(Chat, AnswersEveryReferenceCase) {
  ASSERT_EQ(reference_cases().size(), 11U);
  for (size_t i = 0; i < reference_cases().size(); ++i) {
    SCOPED_TRACE(i);
    const ReferenceCase& expected = reference_cases()[i];
    const Reply reply = http_post(chat_url(), expected.request(false));
    ASSERT_EQ(reply.status, 200) << reply.body;
    const json::value answer = reply.json();
    const json::object& message = answer.at("choices").at(0).at("message").as_object();
    EXPECT_EQ(text(message.at("content")), expected.content);
    const json::value* reasoning = message.if_contains("reasoning_content");
    EXPECT_EQ(reasoning == nullptr ? "" : text(*reasoning), expected.reasoning);
    expect_usage(answer.at("usage"), expected);
  }
}

TEST(Chat, KeepsTenConcurrentStreamsApart) {
  constexpr size_t kStreams = 10;
  const std::string url = chat_url();
  std::vector<std::future<StreamedReply>> replies;
  for (size_t i = 0; i < kStreams; ++i) {
    replies.push_back(
        std::async(std::launch::async, [&url, i] { return http_stream(url, reference_cases()[i].request(true)); }));
  }
  for (size_t i = 0; i < kStreams; ++i) {
    SCOPED_TRACE(i);
    expect_stream(replies[i].get(), reference_cases()[i]);
  }
}

std::string sampled(int seed) {
  json::object body;
  body["model"] = kModel;
  body["messages"] = reference_cases()[7].messages;  // a story: it can be told in many ways
  body["temperature"] = 1.5;
  body["max_tokens"] = 60;
  body["seed"] = seed;
  const Reply reply = http_post(chat_url(), json::serialize(body));
  EXPECT_EQ(reply.status, 200) << reply.body;
  return json::serialize(reply.json().at("choices").at(0).at("message"));
}

TEST(Chat, RepeatsWhatWasSampledWithASeed) {
  const std::string first = sampled(7);
  EXPECT_EQ(sampled(7), first);
  EXPECT_NE(sampled(8), first);
}

TEST(Chat, StopsAtTheTokenLimit) {
  json::object body = json::parse(reference_cases()[0].request(false)).as_object();
  body["max_tokens"] = 5;
  const json::value answer = http_post(chat_url(), json::serialize(body)).json();
  EXPECT_EQ(answer.at("choices").at(0).at("finish_reason"), "length");
  EXPECT_EQ(answer.at("usage").at("completion_tokens"), 5);
}

TEST(Completions, ContinuesAPrompt) {
  json::object body;
  body["model"] = kModel;
  // The article's request as the model's chat format writes it.
  body["prompt"] = "You are a helpful assistant.<｜User｜>Who won the world series in 2020?<｜Assistant｜><think>\n";
  body["temperature"] = 0;
  body["max_tokens"] = 200;
  const Reply reply = http_post(shared_mesh().url() + "/v1/completions", json::serialize(body));
  ASSERT_EQ(reply.status, 200) << reply.body;
  const json::value answer = reply.json();
  EXPECT_EQ(answer.at("object"), "text_completion");
  EXPECT_EQ(text(answer.at("choices").at(0).at("text")),
            reference_cases()[0].reasoning + "\n</think>\n\n" + reference_cases()[0].content);
  EXPECT_EQ(answer.at("usage").at("prompt_tokens"), 23) << "the begin-of-sentence token is added";
}

TEST(Completions, StreamsTheSame) {
  json::object body;
  body["model"] = kModel;
  body["prompt"] = "Once upon a time";
  body["temperature"] = 0;
  body["max_tokens"] = 20;
  const std::string url = shared_mesh().url() + "/v1/completions";
  const json::value whole = http_post(url, json::serialize(body)).json();
  body["stream"] = true;
  const StreamedReply reply = http_stream(url, json::serialize(body));
  EXPECT_EQ(reply.content, text(whole.at("choices").at(0).at("text")));
  EXPECT_TRUE(reply.done);
}

TEST(Gateway, ListsTheModel) {
  const Reply reply = http_get(shared_mesh().url() + "/v1/models");
  ASSERT_EQ(reply.status, 200);
  const json::value list = reply.json();
  EXPECT_EQ(list.at("object"), "list");
  ASSERT_EQ(list.at("data").as_array().size(), 1U);
  EXPECT_EQ(list.at("data").at(0).at("id"), kModel);
  EXPECT_EQ(list.at("data").at(0).at("object"), "model");
}

TEST(Gateway, IsHealthyAndReady) {
  EXPECT_EQ(http_get(shared_mesh().url() + "/ready").status, 200);
  EXPECT_EQ(http_get(shared_mesh().url() + "/health").status, 200);
}

TEST(Gateway, ServesMetrics) {
  const Reply reply = http_get(shared_mesh().url() + "/metrics");
  EXPECT_EQ(reply.status, 200);
  EXPECT_THAT(reply.headers.at("content-type"), StartsWith("text/plain"));
  EXPECT_THAT(reply.body, HasSubstr("# TYPE"));
}

TEST(Worker, CountsUnderTheNamesOfVllm) {
  const std::string url = shared_mesh().worker_metrics_url();
  const double prompt_tokens = metric_value(url, "vllm:prompt_tokens_total");
  const double generation_tokens = metric_value(url, "vllm:generation_tokens_total");
  ASSERT_EQ(http_post(chat_url(), reference_cases()[0].request(false)).status, 200);
  EXPECT_EQ(metric_value(url, "vllm:prompt_tokens_total") - prompt_tokens, 23);
  EXPECT_EQ(metric_value(url, "vllm:generation_tokens_total") - generation_tokens, 73);
  const std::string page = http_get(url).body;
  for (const char* name :
       {"vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc",
        "vllm:gpu_cache_usage_perc", "vllm:time_to_first_token_seconds_bucket",
        "vllm:time_per_output_token_seconds_bucket", "vllm:e2e_request_latency_seconds_bucket",
        "vllm:request_success_total", "vllm:request_prompt_tokens_bucket", "vllm:request_generation_tokens_bucket"}) {
    EXPECT_THAT(page, HasSubstr("\n" + std::string(name) + "{")) << name;
  }
  EXPECT_THAT(page, HasSubstr("model_name=\"bellwether-nano\""));
}

}  // namespace
}  // namespace bellwether::e2e
