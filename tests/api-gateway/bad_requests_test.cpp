// What clients get wrong, over HTTP: the status and the field that each is told. The words are requests_test.cpp's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <boost/json/parse.hpp>

#include "gateway_fixture.h"

namespace bellwether::testing {
namespace {

namespace json = boost::json;

struct BadRequest {
  std::string path;
  std::string body;
  unsigned status = 400;
  std::string param = {};  // "" = null
  std::string method = "POST";
  std::vector<std::string> headers = {};
};

std::ostream& operator<<(std::ostream& out, const BadRequest& bad) {
  return out << bad.method << " " << bad.path << " " << bad.body.substr(0, 200);
}

constexpr size_t kBodyBytesMax = 64 * 1024;
constexpr size_t kHeaderBytesMax = 4 * 1024;

// One gateway for each table: none of its requests may do it any harm.
class BadRequests : public ::testing::TestWithParam<BadRequest> {
 protected:
  static void SetUpTestSuite() {
    nats_ = std::make_unique<NatsServer>();
    script_ = std::make_unique<ScriptedMesh>(nats_->url());
    gateway::GatewaySettings settings;
    settings.body_bytes_max = kBodyBytesMax;
    settings.header_bytes_max = kHeaderBytesMax;
    settings.messages_max = 4;
    settings.prompts_max = 3;
    settings.choices_max = 4;
    settings.prompt_tokens_max = 50;
    gateway_ = std::make_unique<RunningGateway>(nats_->url(), settings);
    script_->add_head("head-1");
    while (HttpCall(gateway_->address(), "GET", "/ready").status() != 200U) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }

  static void TearDownTestSuite() {
    EXPECT_EQ(script_->requests.size(), 0U) << "nothing may reach the mesh";
    gateway_.reset();
    script_.reset();
    nats_.reset();
  }

  static inline std::unique_ptr<NatsServer> nats_;
  static inline std::unique_ptr<ScriptedMesh> script_;
  static inline std::unique_ptr<RunningGateway> gateway_;
};

std::string_view type_of(unsigned status) {
  return status == 503 ? "service_unavailable_error" : "invalid_request_error";
}

TEST_P(BadRequests, GetTheirStatusAndParam) {
  const BadRequest& bad = GetParam();
  HttpCall call(gateway_->address(), bad.method, bad.path, bad.body, bad.headers);
  EXPECT_EQ(call.status(), bad.status);
  const json::value reply = call.json();
  EXPECT_LT(call.body().size(), 1024U) << "what was sent is not sent back";
  const json::value& error = reply.at("error");
  EXPECT_FALSE(error.at("message").as_string().empty());
  if (bad.path.starts_with("/v1/messages")) {
    EXPECT_EQ(reply.at("type"), "error");
    EXPECT_EQ(error.at("type"), bad.status == 404 ? "not_found_error" : "invalid_request_error");
    EXPECT_TRUE(std::string_view(error.at("message").as_string()).starts_with(bad.param)) << error;
  } else {
    EXPECT_EQ(error.at("type").as_string(), type_of(bad.status));
    EXPECT_EQ(error.at("code"), bad.status);
    EXPECT_EQ(error.at("param"), bad.param.empty() ? json::value() : json::value(bad.param)) << error;
  }
}

// The body of a request that is fine but for `more`.
BadRequest chat(const std::string& more, const std::string& param) {
  return {.path = "/v1/chat/completions",
          .body = R"({"model":"nano","messages":[{"role":"user","content":"Hi"}],)" + more + "}",
          .param = param};
}
BadRequest messages(const std::string& value, const std::string& param) {
  return {.path = "/v1/chat/completions", .body = R"({"model":"nano","messages":)" + value + "}", .param = param};
}
BadRequest completion(const std::string& members, const std::string& param) {
  return {.path = "/v1/completions", .body = R"({"model":"nano",)" + members + "}", .param = param};
}
BadRequest response(const std::string& members, const std::string& param) {
  return {.path = "/v1/responses", .body = R"({"model":"nano",)" + members + "}", .param = param};
}
BadRequest anthropic(const std::string& members, const std::string& param) {
  return {.path = "/v1/messages", .body = R"({"model":"nano",)" + members + "}", .param = param};
}

std::string words(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "sheep ";
  return text;
}

INSTANTIATE_TEST_SUITE_P(
    Http, BadRequests,
    ::testing::Values(
        BadRequest{"/v1/nothing", "{}", 404}, BadRequest{"/", "", 404, "", "GET"},
        BadRequest{"/v1/chat/completions", "", 405, "", "GET"}, BadRequest{"/v1/responses", "", 405, "", "GET"},
        BadRequest{"/v1/models", "{}", 405, "", "DELETE"}, BadRequest{"/v1/models/nobody", "", 404, "model", "GET"},
        BadRequest{"/v1/completions", std::string(kBodyBytesMax + 1, ' '), 413},
        BadRequest{"/v1/completions", "{}", 431, "", "POST", {"X-Long: " + std::string(kHeaderBytesMax, 'x')}},
        BadRequest{"/v1/completions", "{}", 417, "", "POST", {"Expect: a miracle"}},
        BadRequest{
            "/v1/completions", R"({"model":"nano","prompt":"Hi"})", 400, "x-priority", "POST", {"X-Priority: high"}},
        BadRequest{"/v1/completions",
                   R"({"model":"nano","prompt":"Hi"})",
                   400,
                   "routing-strategy",
                   "POST",
                   {"Routing-Strategy: " + std::string(65, 'x')}},
        BadRequest{"/v1/completions",
                   R"({"model":"nano","prompt":"Hi"})",
                   400,
                   "x-session-id",
                   "POST",
                   {"X-Session-Id: two words"}}));

INSTANTIATE_TEST_SUITE_P(
    Bodies, BadRequests,
    ::testing::Values(
        BadRequest{"/v1/chat/completions", ""}, BadRequest{"/v1/chat/completions", "{"},
        BadRequest{"/v1/chat/completions", "[]"}, BadRequest{"/v1/chat/completions", "null"},
        BadRequest{"/v1/chat/completions", "{\"model\":\"\xff\"}"},
        BadRequest{"/v1/chat/completions", R"({"model":"nano"} {})"},
        BadRequest{"/v1/chat/completions", R"({"x":)" + std::string(100, '[') + std::string(100, ']') + "}"},
        BadRequest{"/v1/chat/completions", "{}", 400, "model"},
        BadRequest{"/v1/chat/completions", R"({"model":7})", 400, "model"},
        BadRequest{"/v1/chat/completions", R"({"model":")" + std::string(300, 'x') + "\"}", 400, "model"},
        BadRequest{"/v1/chat/completions", R"({"model":"gpt-9","messages":[{"role":"user","content":"Hi"}]})", 404,
                   "model"},
        BadRequest{"/v1/completions", R"({"model":"gpt-9","prompt":"Hi"})", 404, "model"},
        BadRequest{"/v1/responses", R"({"model":"gpt-9","input":"Hi"})", 404, "model"},
        BadRequest{"/v1/messages", R"({"model":"gpt-9","max_tokens":1,"messages":[{"role":"user","content":"Hi"}]})",
                   404, "model"}));

INSTANTIATE_TEST_SUITE_P(
    Chat, BadRequests,
    ::testing::Values(
        messages("null", "messages"), messages("[]", "messages"), messages("{}", "messages"),
        messages("[1,2,3,4,5]", "messages"), messages("[1]", "messages[0]"),
        messages(R"([{"role":"user","content":"Hi"},{"role":"poet","content":"Hi"}])", "messages[1].role"),
        messages(R"([{"role":"user"}])", "messages[0].content"),
        messages(R"([{"role":"user","content":[{"type":"image_url"}]}])", "messages[0].content[0].type"),
        messages(R"([{"role":"user","content":"x","tool_calls":[]}])", "messages[0].tool_calls"),
        messages(R"([{"role":"assistant","tool_calls":[{"function":{"arguments":"{}"}}]}])",
                 "messages[0].tool_calls[0].function.name"),
        messages(R"([{"role":"user","content":")" + words(60) + "\"}]", "messages"),
        chat(R"("temperature":-1)", "temperature"), chat(R"("temperature":"hot")", "temperature"),
        chat(R"("top_p":0)", "top_p"), chat(R"("top_k":-2)", "top_k"), chat(R"("min_p":2)", "min_p"),
        chat(R"("n":5)", "n"), chat(R"("n":0)", "n"), chat(R"("max_tokens":0)", "max_tokens"),
        chat(R"("max_completion_tokens":-1)", "max_completion_tokens"),
        chat(R"("max_tokens":5,"min_tokens":6)", "min_tokens"), chat(R"("seed":1.5)", "seed"),
        chat(R"("stop":[""])", "stop[0]"), chat(R"("stop":{"a":1})", "stop"),
        chat(R"("stop_token_ids":[-1])", "stop_token_ids[0]"), chat(R"("logit_bias":{"x":1})", "logit_bias"),
        chat(R"("logit_bias":{"999999":1})", "logit_bias"), chat(R"("logit_bias":{"5":101})", "logit_bias.5"),
        chat(R"("logprobs":1)", "logprobs"), chat(R"("top_logprobs":2)", "top_logprobs"),
        chat(R"("logprobs":true,"top_logprobs":21)", "top_logprobs"), chat(R"("stream":1)", "stream"),
        chat(R"("stream_options":{})", "stream_options"),
        chat(R"("stream":true,"stream_options":{"include_usage":"yes"})", "stream_options.include_usage"),
        chat(R"("presence_penalty":3)", "presence_penalty"), chat(R"("frequency_penalty":-3)", "frequency_penalty"),
        chat(R"("repetition_penalty":0)", "repetition_penalty"),
        chat(R"("response_format":{"type":"poem"})", "response_format.type"),
        chat(R"("response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"items":{"not":{}}}}})",
             "response_format.json_schema.schema/items/not"),
        chat(R"("structured_outputs":{"regex":"a("})", "structured_outputs.regex"),
        chat(R"("structured_outputs":{"grammar":"root = \"a\""})", "structured_outputs.grammar"),
        chat(R"("tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"not":{}}}}])",
             "tools[0].function.parameters/not"),
        chat(R"("tools":{})", "tools"), chat(R"("tools":[{"type":"code"}])", "tools[0].type"),
        chat(R"("tools":[{"type":"function","function":{"name":"a b"}}])", "tools[0].function.name"),
        chat(R"("tool_choice":"required")", "tool_choice"), chat(R"("best_of":2)", "best_of"),
        chat(R"("audio":{"voice":"x"})", "audio"), chat(R"("functions":[{}])", "functions"),
        chat(R"("truncate_prompt_tokens":0)", "truncate_prompt_tokens"),
        chat(R"("reasoning_effort":"heroic")", "reasoning_effort"), chat(R"("priority":"high")", "priority"),
        chat(R"("cache_salt":"")", "cache_salt"), chat(R"("prompt_logprobs":1,"stream":true)", "prompt_logprobs")));

INSTANTIATE_TEST_SUITE_P(
    Completions, BadRequests,
    ::testing::Values(completion(R"("max_tokens":5)", "prompt"), completion(R"("prompt":"")", "prompt"),
                      completion(R"("prompt":7)", "prompt"), completion(R"("prompt":["a","b","c","d"])", "prompt"),
                      completion(R"("prompt":["a",7])", "prompt[1]"), completion(R"("prompt":[1,-1])", "prompt[1]"),
                      completion(R"("prompt":[1,999999])", "prompt"),
                      completion(R"("prompt":[[1],[2,999999]])", "prompt[1]"),
                      completion(R"("prompt":["a",")" + words(60) + "\"]", "prompt[1]"),
                      completion(R"("prompt":"Hi","suffix":"x")", "suffix"),
                      completion(R"("prompt":"Hi","logprobs":6)", "logprobs"),
                      completion(R"("prompt":"Hi","max_tokens":0)", "max_tokens"),
                      completion(R"("prompt":"Hi","echo":"yes")", "echo"), BadRequest{"/tokenize", "{}", 400, "prompt"},
                      BadRequest{"/tokenize", R"({"model":"gpt-9","prompt":"Hi"})", 404, "model"},
                      BadRequest{"/detokenize", R"({"tokens":"1"})", 400, "tokens"},
                      BadRequest{"/detokenize", R"({"tokens":[999999]})", 400, "tokens"}));

#define HELLO R"("input":"Hi",)"
INSTANTIATE_TEST_SUITE_P(
    Responses, BadRequests,
    ::testing::Values(response(R"("stream":false)", "input"), response(R"("input":[])", "input"),
                      response(R"("input":[{"role":"poet","content":"Hi"}])", "input[0].role"),
                      response(R"("input":[{"type":"item_reference","id":"x"}])", "input[0].type"),
                      response(R"("input":")" + words(60) + "\"", "input"),
                      response(HELLO R"("previous_response_id":"resp_1")", "previous_response_id"),
                      response(HELLO R"("background":true)", "background"),
                      response(HELLO R"("max_output_tokens":0)", "max_output_tokens"),
                      response(HELLO R"("tools":[{"type":"web_search"}])", "tools[0].type"),
                      response(HELLO R"("tools":[{"type":"function"}])", "tools[0].name"),
                      response(HELLO R"("reasoning":{"effort":"heroic"})", "reasoning.effort"),
                      response(HELLO R"("text":{"format":{"type":"json_schema","name":"n","schema":{"not":{}}}})",
                               "text.format.schema/not"),
                      response(HELLO R"("text":{"format":{"type":"poem"}})", "text.format.type")));
#undef HELLO

#define HELLO R"("max_tokens":5,"messages":[{"role":"user","content":"Hi"}],)"
INSTANTIATE_TEST_SUITE_P(
    Messages, BadRequests,
    ::testing::Values(anthropic(R"("messages":[{"role":"user","content":"Hi"}])", "max_tokens"),
                      anthropic(R"("max_tokens":5)", "messages"),
                      anthropic(R"("max_tokens":5,"messages":[])", "messages"),
                      anthropic(R"("max_tokens":5,"messages":[{"role":"poet","content":"Hi"}])", "messages[0].role"),
                      anthropic(HELLO R"("temperature":2)", "temperature"),
                      anthropic(HELLO R"("stop_sequences":[7])", "stop_sequences[0]"),
                      anthropic(HELLO R"("thinking":{"type":"deep"})", "thinking.type"),
                      anthropic(HELLO R"("tools":[{"name":"f"}])", "tools[0].input_schema"),
                      anthropic(HELLO R"("system":7)", "system"),
                      BadRequest{"/v1/messages/count_tokens", R"({"model":"nano"})", 400, "messages"}));
#undef HELLO

}  // namespace
}  // namespace bellwether::testing
