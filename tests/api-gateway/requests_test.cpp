// Bodies of requests: what is taken, what is refused, and in which words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include <boost/json/parse.hpp>

#include "api-gateway/chat_request.h"
#include "api-gateway/completion_request.h"
#include "api-gateway/messages_request.h"
#include "api-gateway/responses_request.h"
#include "mesh/error.h"

namespace bellwether::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct BadBody {
  const char* body;
  const char* param;
  const char* message;  // a part of it
};

std::ostream& operator<<(std::ostream& out, const BadBody& bad) {
  return out << bad.body;
}

void expect_refused(const BadBody& bad, const std::function<void()>& parse) {
  try {
    parse();
    FAIL() << "accepted: " << bad.body;
  } catch (const mesh::Error& error) {
    EXPECT_EQ(error.code(), mesh::ErrorCode::kInvalidArgument);
    EXPECT_EQ(error.field(), bad.param) << bad.body;
    EXPECT_THAT(error.what(), HasSubstr(bad.message)) << bad.body;
  }
}

// `more` is added to a body that is fine.
std::string chat_body(const std::string& more, const std::string& messages = R"([{"role":"user","content":"Hi"}])") {
  return R"({"model":"nano","messages":)" + messages + (more.empty() ? "" : "," + more) + "}";
}

constexpr RequestLimits kLimits{.messages_max = 8, .prompts_max = 4, .prompt_tokens_max = 100, .choices_max = 128};

ChatRequest parse_chat(const std::string& body) {
  return parse_chat_request(body, kLimits);
}
CompletionRequest parse_completion(const std::string& body) {
  return parse_completion_request(body, kLimits);
}

class BadChatBody : public ::testing::TestWithParam<BadBody> {};
TEST_P(BadChatBody, IsRefused) {
  expect_refused(GetParam(), [] { (void)parse_chat(GetParam().body); });
}

INSTANTIATE_TEST_SUITE_P(
    Whole, BadChatBody,
    ::testing::Values(BadBody{"", "", "not valid JSON"}, BadBody{"{", "", "not valid JSON"},
                      BadBody{"{} {}", "", "not valid JSON"}, BadBody{"[]", "", "must be a JSON object"},
                      BadBody{"\"text\"", "", "must be a JSON object"},
                      BadBody{"{\"model\":\"\xff\"}", "", "not valid JSON"},
                      BadBody{R"({"model":"\ud800"})", "", "not valid JSON"},
                      BadBody{R"({"messages":[]})", "model", "is required"},
                      BadBody{R"({"model":null,"messages":[]})", "model", "is required"},
                      BadBody{R"({"model":"","messages":[]})", "model", "must not be empty"},
                      BadBody{R"({"model":7,"messages":[]})", "model", "must be a string"},
                      BadBody{R"({"model":"m"})", "messages", "is required"},
                      BadBody{R"({"model":"m","messages":{}})", "messages", "must be an array"},
                      BadBody{R"({"model":"m","messages":[]})", "messages", "must not be empty"},
                      BadBody{R"({"model":"m","messages":[1,2,3,4,5,6,7,8,9]})", "messages", "at most 8"},
                      BadBody{R"({"model":"m","messages":["hi"]})", "messages[0]", "must be an object"}));

struct BadPart {
  const char* text;
  const char* param;
  const char* message;
};
std::ostream& operator<<(std::ostream& out, const BadPart& bad) {
  return out << bad.text;
}

class BadMessages : public ::testing::TestWithParam<BadPart> {};
TEST_P(BadMessages, AreRefused) {
  const BadPart& bad = GetParam();
  const std::string body = chat_body("", bad.text);
  expect_refused({body.c_str(), bad.param, bad.message}, [&] { (void)parse_chat(body); });
}

INSTANTIATE_TEST_SUITE_P(
    All, BadMessages,
    ::testing::Values(
        BadPart{R"([{"content":"x"}])", "messages[0].role", "is required"},
        BadPart{R"([{"role":"poet","content":"x"}])", "messages[0].role", "must be one of"},
        BadPart{R"([{"role":"user","content":"x"},{"role":"user"}])", "messages[1].content", "is required"},
        BadPart{R"([{"role":"user","content":null}])", "messages[0].content", "is required"},
        BadPart{R"([{"role":"user","content":5}])", "messages[0].content", "must be a string or an array"},
        BadPart{R"([{"role":"user","content":["x"]}])", "messages[0].content[0]", "must be an object"},
        BadPart{R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}])",
                "messages[0].content[0].type", "\"image_url\"; only \"text\""},
        BadPart{R"([{"role":"user","content":[{"type":"text"}]}])", "messages[0].content[0].text", "is required"},
        BadPart{R"([{"role":"user","content":[{"text":"x"}]}])", "messages[0].content[0].type", "is required"},
        BadPart{R"([{"role":"user","content":"x","tool_calls":[]}])", "messages[0].tool_calls", "only allowed"},
        BadPart{R"([{"role":"assistant"}])", "messages[0].content", "is required"},
        BadPart{R"([{"role":"assistant","tool_calls":[{}]}])", "messages[0].tool_calls[0].function", "is required"},
        BadPart{R"([{"role":"assistant","tool_calls":[{"type":"x"}]}])", "messages[0].tool_calls[0].type", "must be"},
        BadPart{R"([{"role":"assistant","tool_calls":[{"function":{}}]}])", "messages[0].tool_calls[0].function.name",
                "is required"},
        BadPart{R"([{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{}}}]}])",
                "messages[0].tool_calls[0].function.arguments", "must be a string"},
        BadPart{R"([{"role":"tool","content":"x","tool_call_id":3}])", "messages[0].tool_call_id", "must be a string"},
        BadPart{R"([{"role":"assistant","content":"x","reasoning_content":[]}])", "messages[0].reasoning_content",
                "must be a string"}));

class BadParameter : public ::testing::TestWithParam<BadPart> {};
TEST_P(BadParameter, IsRefused) {
  const BadPart& bad = GetParam();
  const std::string body = chat_body(bad.text);
  expect_refused({body.c_str(), bad.param, bad.message}, [&] { (void)parse_chat(body); });
}

INSTANTIATE_TEST_SUITE_P(
    Ranges, BadParameter,
    ::testing::Values(
        BadPart{R"("temperature":-0.1)", "temperature", "from 0 to 2"},
        BadPart{R"("temperature":2.1)", "temperature", "from 0 to 2"},
        BadPart{R"("temperature":"hot")", "temperature", "must be a number"},
        BadPart{R"("temperature":true)", "temperature", "must be a number"},
        BadPart{R"("top_p":0)", "top_p", "larger than 0"}, BadPart{R"("top_p":1.01)", "top_p", "from 0 to 1"},
        BadPart{R"("top_k":-2)", "top_k", "whole number from -1"}, BadPart{R"("top_k":1.5)", "top_k", "whole number"},
        BadPart{R"("top_k":99999999999)", "top_k", "whole number"}, BadPart{R"("seed":"x")", "seed", "whole number"},
        BadPart{R"("seed":18446744073709551615)", "seed", "whole number"},
        BadPart{R"("max_tokens":0)", "max_tokens", "from 1"}, BadPart{R"("max_tokens":-1)", "max_tokens", "from 1"},
        BadPart{R"("max_completion_tokens":0)", "max_completion_tokens", "from 1"},
        BadPart{R"("max_tokens":1e300)", "max_tokens", "whole number"},
        BadPart{R"("stop":7)", "stop", "a string or an array"}, BadPart{R"("stop":"")", "stop", "must not be empty"},
        BadPart{R"("stop":["a",7])", "stop[1]", "must be a string"},
        BadPart{R"("stop":["a",""])", "stop[1]", "must not be empty"},
        BadPart{R"("stop":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17])", "stop", "at most 16"},
        BadPart{R"("stop_token_ids":[-1])", "stop_token_ids[0]", "must be a token id"},
        BadPart{R"("stop_token_ids":"1")", "stop_token_ids", "must be an array"},
        BadPart{R"("logprobs":5)", "logprobs", "true or false"},
        BadPart{R"("top_logprobs":3)", "top_logprobs", "only allowed when `logprobs`"},
        BadPart{R"("logprobs":true,"top_logprobs":21)", "top_logprobs", "from 0 to 20"},
        BadPart{R"("stream":"yes")", "stream", "true or false"},
        BadPart{R"("stream_options":{"include_usage":true})", "stream_options", "only allowed when `stream`"},
        BadPart{R"("stream":true,"stream_options":[])", "stream_options", "must be an object"},
        BadPart{R"("stream":true,"stream_options":{"include_usage":1})", "stream_options.include_usage",
                "true or false"},
        BadPart{R"("stream":true,"stream_options":{"continuous_usage_stats":1})",
                "stream_options.continuous_usage_stats", "true or false"},
        BadPart{R"("min_p":1.5)", "min_p", "from 0 to 1"}, BadPart{R"("min_p":-1)", "min_p", "from 0 to 1"},
        BadPart{R"("repetition_penalty":0)", "repetition_penalty", "larger than 0"},
        BadPart{R"("repetition_penalty":2.5)", "repetition_penalty", "from 0 to 2"},
        BadPart{R"("presence_penalty":-2.1)", "presence_penalty", "from -2 to 2"},
        BadPart{R"("frequency_penalty":3)", "frequency_penalty", "from -2 to 2"},
        BadPart{R"("logit_bias":[1])", "logit_bias", "must be an object"},
        BadPart{R"("logit_bias":{"x":1})", "logit_bias", "token ids"},
        BadPart{R"("logit_bias":{"-1":1})", "logit_bias", "token ids"},
        BadPart{R"("logit_bias":{"1 ":1})", "logit_bias", "token ids"},
        BadPart{R"("logit_bias":{"4294967296":1})", "logit_bias", "token ids"},
        BadPart{R"("logit_bias":{"50":101})", "logit_bias.50", "from -100 to 100"},
        BadPart{R"("min_tokens":-1)", "min_tokens", "from 0"}, BadPart{R"("n":0)", "n", "from 1 to 128"},
        BadPart{R"("n":129)", "n", "from 1 to 128"}, BadPart{R"("n":1.5)", "n", "whole number"},
        BadPart{R"("cache_salt":"")", "cache_salt", "must not be empty"},
        BadPart{R"("cache_salt":7)", "cache_salt", "must be a string"},
        BadPart{R"("ignore_eos":1)", "ignore_eos", "true or false"},
        BadPart{R"("priority":"high")", "priority", "whole number"}));

INSTANTIATE_TEST_SUITE_P(NotHonouredYet, BadParameter,
                         ::testing::Values(BadPart{R"("best_of":3)", "best_of", "other than 1"},
                                           BadPart{R"("use_beam_search":true)", "use_beam_search", "other than false"},
                                           BadPart{R"("bad_words":["x"])", "bad_words", "not supported"},
                                           BadPart{R"("functions":[])", "functions", "not supported"},
                                           BadPart{R"("audio":{})", "audio", "not supported"},
                                           BadPart{R"("modalities":["text","audio"])", "modalities", "other than"},
                                           BadPart{R"("chat_template":"x")", "chat_template", "not supported"},
                                           BadPart{R"("echo":true)", "echo", "other than false"}));

INSTANTIATE_TEST_SUITE_P(
    Forms, BadParameter,
    ::testing::Values(
        BadPart{R"("response_format":"json")", "response_format", "must be an object"},
        BadPart{R"("response_format":{})", "response_format.type", "is required"},
        BadPart{R"("response_format":{"type":"poem"})", "response_format.type", "\"poem\"; it must be one of"},
        BadPart{R"("response_format":{"type":"json_schema"})", "response_format.json_schema", "is required"},
        BadPart{R"("response_format":{"type":"json_schema","json_schema":{"schema":{}}})",
                "response_format.json_schema.name", "is required"},
        BadPart{R"("response_format":{"type":"json_schema","json_schema":{"name":"a b","schema":{}}})",
                "response_format.json_schema.name", "1 to 64"},
        BadPart{R"("response_format":{"type":"json_schema","json_schema":{"name":"n"}})",
                "response_format.json_schema.schema", "is required"},
        BadPart{R"("response_format":{"type":"json_schema","json_schema":{"name":"n","schema":"{}"}})",
                "response_format.json_schema.schema", "must be an object"},
        BadPart{R"("response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{},"strict":1}})",
                "response_format.json_schema.strict", "true or false"},
        BadPart{R"("structured_outputs":[])", "structured_outputs", "must be an object"},
        BadPart{R"("structured_outputs":{"json":[]})", "structured_outputs.json", "must be a JSON schema"},
        BadPart{R"("structured_outputs":{"regex":7})", "structured_outputs.regex", "must be a string"},
        BadPart{R"("structured_outputs":{"regex":""})", "structured_outputs.regex", "must not be empty"},
        BadPart{R"("structured_outputs":{"choice":"a"})", "structured_outputs.choice", "must be an array"},
        BadPart{R"("structured_outputs":{"choice":[]})", "structured_outputs.choice", "must not be empty"},
        BadPart{R"("structured_outputs":{"choice":["a",7]})", "structured_outputs.choice[1]", "must be a string"},
        BadPart{R"("structured_outputs":{"json_object":1})", "structured_outputs.json_object", "true or false"},
        BadPart{R"("structured_outputs":{"regex":"a","choice":["a"]})", "structured_outputs.choice",
                "beside `structured_outputs.regex`"},
        BadPart{R"("structured_outputs":{"json_object":true},"guided_regex":"a")", "guided_regex", "beside"},
        BadPart{R"("structured_outputs":{"structural_tag":"x"})", "structured_outputs.structural_tag", "not supported"},
        BadPart{R"("structured_outputs":{"regex":"a","disable_any_whitespace":true})",
                "structured_outputs.disable_any_whitespace", "other than false"},
        BadPart{R"("guided_whitespace_pattern":" ")", "guided_whitespace_pattern", "not supported"}));

INSTANTIATE_TEST_SUITE_P(
    Extras, BadParameter,
    ::testing::Values(BadPart{R"("skip_special_tokens":1)", "skip_special_tokens", "true or false"},
                      BadPart{R"("include_stop_str_in_output":"x")", "include_stop_str_in_output", "true or false"},
                      BadPart{R"("return_token_ids":1)", "return_token_ids", "true or false"},
                      BadPart{R"("prompt_logprobs":21)", "prompt_logprobs", "from 0 to 20"},
                      BadPart{R"("prompt_logprobs":1,"stream":true)", "prompt_logprobs", "only allowed when `stream`"},
                      BadPart{R"("truncate_prompt_tokens":0)", "truncate_prompt_tokens", "-1 or at least 1"},
                      BadPart{R"("truncate_prompt_tokens":-2)", "truncate_prompt_tokens", "from -1"},
                      BadPart{R"("truncation_side":"middle")", "truncation_side", "\"left\" or \"right\""},
                      BadPart{R"("session_id":"")", "session_id", "must not be empty"},
                      BadPart{R"("reasoning_effort":"heroic")", "reasoning_effort", "must be one of"},
                      BadPart{R"("include_reasoning":0)", "include_reasoning", "true or false"},
                      BadPart{R"("chat_template_kwargs":[])", "chat_template_kwargs", "must be an object"},
                      BadPart{R"("continue_final_message":1)", "continue_final_message", "true or false"},
                      BadPart{R"("continue_final_message":true,"add_generation_prompt":true)", "continue_final_message",
                              "only allowed when `add_generation_prompt`"},
                      BadPart{R"("allowed_token_ids":[1])", "allowed_token_ids", "not supported"},
                      BadPart{R"("thinking_token_budget":5)", "thinking_token_budget", "not supported"},
                      BadPart{R"("documents":[{}])", "documents", "not supported"},
                      BadPart{R"("kv_transfer_params":{"a":1})", "kv_transfer_params", "not supported"},
                      BadPart{R"("add_special_tokens":true)", "add_special_tokens", "other than false"}));

INSTANTIATE_TEST_SUITE_P(
    Tools, BadParameter,
    ::testing::Values(
        BadPart{R"("tools":{})", "tools", "must be an array"},
        BadPart{R"("tools":[{}])", "tools[0].type", "is required"},
        BadPart{R"("tools":[{"type":"code"}])", "tools[0].type", "must be \"function\""},
        BadPart{R"("tools":[{"type":"function"}])", "tools[0].function", "is required"},
        BadPart{R"("tools":[{"type":"function","function":{"name":""}}])", "tools[0].function.name",
                "must not be empty"},
        BadPart{R"("tools":[{"type":"function","function":{"name":"a b"}}])", "tools[0].function.name", "1 to 64"},
        BadPart{R"("tools":[{"type":"function","function":{"name":"f","parameters":[]}}])",
                "tools[0].function.parameters", "must be an object"},
        BadPart{R"("tools":[{"type":"function","function":{"name":"f","strict":1}}])", "tools[0].function.strict",
                "true or false"},
        BadPart{R"("tool_choice":"auto")", "tool_choice", "only allowed when `tools`"},
        BadPart{R"("tool_choice":"required")", "tool_choice", "only allowed when `tools`"},
        BadPart{R"("tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function"})",
                "tool_choice.function", "is required"},
        BadPart{R"("tools":[{"type":"function","function":{"name":"f"}}],
                   "tool_choice":{"type":"function","function":{"name":"g"}})",
                "tool_choice", "not among the `tools`"},
        BadPart{R"("tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"any")", "tool_choice",
                "must be \"none\""},
        BadPart{R"("tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"f"}}])",
                "tools[1].function.name", "an earlier one"},
        BadPart{R"("parallel_tool_calls":"no")", "parallel_tool_calls", "true or false"}));

TEST(ChatRequest, DeepNestingIsRefused) {
  const std::string deep = std::string(200, '[') + std::string(200, ']');
  const std::string body = chat_body("\"x\":" + deep);
  expect_refused({body.c_str(), "", "nests deeper"}, [&] { (void)parse_chat(body); });
}

TEST(ChatRequest, EverythingThatIsHonouredIsRead) {
  const ChatRequest request = parse_chat(chat_body(
      R"("temperature":0.5,"top_p":0.9,"top_k":-1,"seed":-3,"max_tokens":10,"max_completion_tokens":20,
         "stop":["a","bb"],"stop_token_ids":[4],"ignore_eos":true,"logprobs":true,"top_logprobs":2,"priority":-1,
         "min_p":0.25,"repetition_penalty":1.5,"presence_penalty":-1,"frequency_penalty":0.5,"n":3,"min_tokens":6,
         "logit_bias":{"50":-100,"7":2.5},"cache_salt":"tenant","stream":true,
         "stream_options":{"include_usage":true,"continuous_usage_stats":true},"add_generation_prompt":false,
         "include_stop_str_in_output":true,"skip_special_tokens":false,"return_token_ids":true,
         "return_tokens_as_token_ids":true,"truncate_prompt_tokens":7,"truncation_side":"right","session_id":"s",
         "include_reasoning":false,"parallel_tool_calls":false,"chat_template_kwargs":{"thinking":true},
         "reasoning_effort":"none")"));
  const GenerationParameters& parameters = request.parameters;
  EXPECT_EQ(parameters.model, "nano");
  EXPECT_EQ(parameters.temperature, 0.5);
  EXPECT_EQ(parameters.top_p, 0.9);
  EXPECT_EQ(parameters.top_k, 0U);
  EXPECT_EQ(parameters.seed, static_cast<uint64_t>(-3));
  EXPECT_EQ(parameters.max_tokens, 20U);
  EXPECT_THAT(parameters.stop, ElementsAre("a", "bb"));
  EXPECT_THAT(parameters.stop_token_ids, ElementsAre(4U));
  EXPECT_TRUE(parameters.ignore_eos);
  EXPECT_TRUE(parameters.logprobs);
  EXPECT_EQ(parameters.top_logprobs, 2U);
  EXPECT_EQ(parameters.priority, -1);
  EXPECT_EQ(parameters.min_p, 0.25);
  EXPECT_EQ(parameters.repetition_penalty, 1.5);
  EXPECT_EQ(parameters.presence_penalty, -1);
  EXPECT_EQ(parameters.frequency_penalty, 0.5);
  EXPECT_EQ(parameters.choices, 3U);
  EXPECT_EQ(parameters.min_tokens, 6U);
  EXPECT_THAT(parameters.logit_bias, ElementsAre(std::pair(50U, -100.0), std::pair(7U, 2.5)));
  EXPECT_EQ(parameters.cache_salt, "tenant");
  EXPECT_TRUE(parameters.stream);
  EXPECT_TRUE(parameters.include_usage);
  EXPECT_TRUE(parameters.continuous_usage);
  EXPECT_TRUE(parameters.keeps_stop);
  EXPECT_TRUE(parameters.keeps_special_tokens);
  EXPECT_TRUE(parameters.returns_token_ids);
  EXPECT_TRUE(parameters.tokens_as_ids);
  EXPECT_EQ(parameters.truncation->tokens, 7U);
  EXPECT_FALSE(parameters.truncation->keeps_end);
  EXPECT_EQ(parameters.session_id, "s");
  EXPECT_FALSE(request.keeps_reasoning);
  EXPECT_FALSE(request.parallel_tool_calls);
  EXPECT_FALSE(request.conversation.add_generation_prompt);
  const boost::json::object& arguments = request.conversation.template_arguments;
  EXPECT_TRUE(arguments.at("thinking").as_bool()) << "what the client says itself counts more";
  EXPECT_FALSE(arguments.at("enable_thinking").as_bool());
  EXPECT_EQ(arguments.at("reasoning_effort").as_string(), "none");
}

TEST(ChatRequest, ValuesThatAskForNothingAndUnknownFieldsAreAccepted) {
  const ChatRequest request = parse_chat(chat_body(
      R"("n":1,"best_of":1.0,"frequency_penalty":0,"presence_penalty":0.0,"logit_bias":{},"logit_bias":null,"min_p":0,
         "response_format":{"type":"text"},"user":"u","store":true,"metadata":{"a":"b"},"service_tier":"auto",
         "tool_choice":"none","parallel_tool_calls":true,"modalities":["text"],"echo":false,"temperature":null,
         "something_new":[1],"stop":null)"));
  EXPECT_FALSE(request.parameters.temperature.has_value());
  EXPECT_FALSE(request.parameters.max_tokens.has_value());
  EXPECT_FALSE(request.parameters.stream);
  EXPECT_TRUE(request.parameters.stop.empty());
}

TEST(ChatRequest, MessagesOfAllRoles) {
  const ChatRequest request = parse_chat(chat_body("", R"([
      {"role":"developer","content":"Be brief.","name":"boss"},
      {"role":"user","content":[{"type":"text","text":"Hello"},{"type":"text","text":"world"}]},
      {"role":"assistant","content":null,"reasoning_content":"Hm.",
       "tool_calls":[{"id":"call-1","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}}]},
      {"role":"tool","tool_call_id":"call-1","content":"42"},
      {"role":"assistant","content":""}])"));
  const auto& messages = request.conversation.messages;
  ASSERT_EQ(messages.size(), 5U);
  EXPECT_EQ(messages[0].role, text::Role::kSystem);
  EXPECT_EQ(messages[1].content, "Hello\nworld");
  EXPECT_EQ(messages[2].content, "");
  ASSERT_EQ(messages[2].tool_calls.size(), 1U);
  EXPECT_EQ(messages[2].tool_calls[0].id, "call-1");
  EXPECT_EQ(messages[2].tool_calls[0].name, "f");
  EXPECT_EQ(messages[2].tool_calls[0].arguments, "{\"a\": 1}");
  EXPECT_EQ(messages[3].role, text::Role::kTool);
  EXPECT_EQ(messages[3].content, "42");
}

TEST(ChatRequest, ALastMessageCanBeCarriedOn) {
  const auto carries_on = [](const std::string& more) {
    return parse_chat(chat_body(more)).conversation.continue_final_message;
  };
  EXPECT_FALSE(carries_on(""));
  EXPECT_TRUE(carries_on(R"("continue_final_message":true)"));
  EXPECT_TRUE(carries_on(R"("continue_final_message":true,"add_generation_prompt":false)"));
  const auto message_carries_on = [](const std::string& role) {
    return parse_messages_request(
               R"({"model":"m","max_tokens":5,"messages":[{"role":")" + role + R"(","content":"x"}]})", kLimits)
        .conversation.continue_final_message;
  };
  EXPECT_TRUE(message_carries_on("assistant"));
  EXPECT_FALSE(message_carries_on("user"));
}

TEST(ChatRequest, ToolChoiceNoneLeavesToolsOut) {
  const std::string tools = R"("tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}])";
  EXPECT_EQ(parse_chat(chat_body(tools)).conversation.tools.size(), 1U);
  EXPECT_EQ(parse_chat(chat_body(tools + R"(,"tool_choice":"auto")")).conversation.tools.size(), 1U);
  EXPECT_EQ(parse_chat(chat_body(tools + R"(,"tool_choice":"none")")).conversation.tools.size(), 0U);
}

class BadCompletion : public ::testing::TestWithParam<BadBody> {};
TEST_P(BadCompletion, IsRefused) {
  expect_refused(GetParam(), [] { (void)parse_completion(GetParam().body); });
}

INSTANTIATE_TEST_SUITE_P(
    All, BadCompletion,
    ::testing::Values(BadBody{R"({"model":"m"})", "prompt", "is required"},
                      BadBody{R"({"model":"m","prompt":""})", "prompt", "must not be empty"},
                      BadBody{R"({"model":"m","prompt":[]})", "prompt", "must not be empty"},
                      BadBody{R"({"model":"m","prompt":[[]]})", "prompt[0]", "must not be empty"},
                      BadBody{R"({"model":"m","prompt":[""]})", "prompt[0]", "must not be empty"},
                      BadBody{R"({"model":"m","prompt":["a",""]})", "prompt[1]", "must not be empty"},
                      BadBody{R"({"model":"m","prompt":["a",7]})", "prompt[1]", "a string or an array"},
                      BadBody{R"({"model":"m","prompt":["a","b","c","d","e"]})", "prompt", "at most 4"},
                      BadBody{R"({"model":"m","prompt":[[1],[-2]]})", "prompt[1][0]", "must be a token id"},
                      BadBody{R"({"model":"m","prompt":{}})", "prompt", "a string or an array"},
                      BadBody{R"({"model":"m","prompt":[true]})", "prompt[0]", "a string or an array"},
                      BadBody{R"({"model":"m","prompt":[1,-2]})", "prompt[1]", "must be a token id"},
                      BadBody{R"({"model":"m","prompt":[1,2.5]})", "prompt[1]", "must be a token id"},
                      BadBody{R"({"model":"m","prompt":[1,4294967296]})", "prompt[1]", "must be a token id"},
                      BadBody{R"({"model":"m","prompt":[1,"x"]})", "prompt[1]", "must be a token id"},
                      BadBody{R"({"model":"m","prompt":"x","logprobs":6})", "logprobs", "from 0 to 5"},
                      BadBody{R"({"model":"m","prompt":"x","logprobs":true})", "logprobs", "whole number"},
                      BadBody{R"({"model":"m","prompt":"x","prompt_logprobs":21})", "prompt_logprobs", "from 0 to 20"},
                      BadBody{R"({"model":"m","prompt":"x","prompt_logprobs":1,"stream":true})", "prompt_logprobs",
                              "only allowed when `stream`"},
                      BadBody{R"({"model":"m","prompt":"x","suffix":"y"})", "suffix", "not supported"},
                      BadBody{R"({"model":"m","prompt":"x","echo":1})", "echo", "true or false"},
                      BadBody{R"({"model":"m","prompt":"x","add_special_tokens":1})", "add_special_tokens", "true or"},
                      BadBody{R"({"model":"m","prompt":"x","max_tokens":0})", "max_tokens", "from 1"}));

TEST(CompletionRequest, PromptsOfAllKinds) {
  const auto prompts = [](const std::string& json) {
    return parse_completion(R"({"model":"m","prompt":)" + json + "}").prompts;
  };
  const Prompt text = "Hello";
  const Prompt ids = std::vector<text::TokenId>{1, 2, 3};
  EXPECT_THAT(prompts("\"Hello\""), ElementsAre(text));
  EXPECT_THAT(prompts("[\"Hello\"]"), ElementsAre(text));
  EXPECT_THAT(prompts("[1,2,3]"), ElementsAre(ids));
  EXPECT_THAT(prompts("[[1,2,3]]"), ElementsAre(ids));
  EXPECT_THAT(prompts("[[1,2,3],\"Hello\",[1,2,3]]"), ElementsAre(ids, text, ids));
}

TEST(CompletionRequest, TooManyIds) {
  std::string ids = "1";
  for (int i = 0; i < 100; ++i) ids += ",1";
  const std::string body = R"({"model":"m","prompt":[)" + ids + "]}";
  expect_refused({body.c_str(), "prompt", "more tokens"}, [&] { (void)parse_completion(body); });
}

TEST(CompletionRequest, Defaults) {
  const CompletionRequest request = parse_completion(R"({"model":"m","prompt":"x","logprobs":0})");
  EXPECT_EQ(request.parameters.prompt_logprobs, std::nullopt);
  EXPECT_EQ(request.parameters.choices, 1U);
  EXPECT_EQ(request.parameters.max_tokens, 16U);
  EXPECT_TRUE(request.parameters.logprobs);
  EXPECT_EQ(request.parameters.top_logprobs, 0U);
  EXPECT_FALSE(request.echo);
  EXPECT_EQ(parse_completion(R"({"model":"m","prompt":"x","echo":true,"max_tokens":0})").parameters.max_tokens, 0U);
}

class BadMessage : public ::testing::TestWithParam<BadPart> {};
TEST_P(BadMessage, IsRefused) {
  const BadPart& bad = GetParam();
  const std::string body = R"({"model":"m",)" + std::string(bad.text) + "}";
  expect_refused({body.c_str(), bad.param, bad.message}, [&] { (void)parse_messages_request(body, kLimits); });
}

#define USER "\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"
INSTANTIATE_TEST_SUITE_P(
    All, BadMessage,
    ::testing::Values(
        BadPart{R"("messages":[{"role":"user","content":"Hi"}])", "max_tokens", "is required"},
        BadPart{R"("max_tokens":0,"messages":[])", "max_tokens", "from 1"},
        BadPart{R"("max_tokens":5)", "messages", "is required"},
        BadPart{R"("max_tokens":5,"messages":[])", "messages", "must not be empty"},
        BadPart{R"("max_tokens":5,"messages":[{"role":"system","content":"x"}])", "messages[0].role", "\"user\" or"},
        BadPart{R"("max_tokens":5,"messages":[{"role":"user"}])", "messages[0].content", "is required"},
        BadPart{R"("max_tokens":5,"messages":[{"role":"user","content":[]}])", "messages[0].content", "not be empty"},
        BadPart{R"("max_tokens":5,"messages":[{"role":"user","content":[{"type":"image"}]}])",
                "messages[0].content[0].type", "\"image\""},
        BadPart{R"("max_tokens":5,"messages":[{"role":"user","content":[{"type":"tool_result"}]}])",
                "messages[0].content[0].tool_use_id", "is required"},
        BadPart{USER R"(,"temperature":1.5)", "temperature", "from 0 to 1"},
        BadPart{USER R"(,"stop_sequences":[""])", "stop_sequences[0]", "must not be empty"},
        BadPart{USER R"(,"thinking":{"type":"deep"})", "thinking.type", "must be one of"},
        BadPart{USER R"(,"tools":[{"name":"f"}])", "tools[0].input_schema", "is required"},
        BadPart{USER R"(,"tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"some"})", "tool_choice.type",
                "must be one of"},
        BadPart{USER R"(,"tool_choice":{"type":"auto"})", "tool_choice", "only allowed when `tools`"},
        BadPart{USER R"(,"output_config":{"format":{"type":"text"}})", "output_config.format.type", "json_schema"},
        BadPart{USER R"(,"output_config":{"format":{"type":"json_schema"}})", "output_config.format.schema",
                "is required"},
        BadPart{USER R"(,"output_config":{"effort":"heroic"})", "output_config.effort", "must be one of"},
        BadPart{USER R"(,"mcp_servers":[{}])", "mcp_servers", "not supported"}));
#undef USER

TEST(MessagesRequest, BecomesAConversation) {
  const ChatRequest request =
      parse_messages_request(R"({"model":"m","max_tokens":7,"system":[{"type":"text","text":"S"}],
      "stop_sequences":["END"],"stream":true,"thinking":{"type":"disabled"},
      "tools":[{"name":"f","description":"d","input_schema":{"type":"object"}}],
      "tool_choice":{"type":"auto","disable_parallel_tool_use":true},
      "messages":[{"role":"user","content":"Hi"},
        {"role":"assistant","content":[{"type":"thinking","thinking":"Hm","signature":"x"},{"type":"text","text":"Ok"},
          {"type":"tool_use","id":"c1","name":"f","input":{"a":1}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"42"},{"type":"text","text":"So?"}]}]})",
                             kLimits);
  const auto& messages = request.conversation.messages;
  ASSERT_EQ(messages.size(), 5U);
  EXPECT_EQ(messages[0].role, text::Role::kSystem);
  EXPECT_EQ(messages[2].content, "Ok");
  EXPECT_EQ(messages[2].reasoning, "Hm");
  EXPECT_EQ(messages[2].tool_calls.at(0).arguments, "{\"a\":1}");
  EXPECT_EQ(messages[3].role, text::Role::kTool);
  EXPECT_EQ(messages[3].content, "42");
  EXPECT_EQ(messages[4].content, "So?");
  EXPECT_EQ(request.conversation.tools.at(0).at("function").at("parameters").at("type"), "object");
  EXPECT_FALSE(request.parallel_tool_calls);
  EXPECT_FALSE(request.keeps_reasoning);
  EXPECT_TRUE(request.parameters.stream);
  EXPECT_EQ(request.parameters.max_tokens, 7U);
  EXPECT_THAT(request.parameters.stop, ElementsAre("END"));
}

class BadResponse : public ::testing::TestWithParam<BadPart> {};
TEST_P(BadResponse, IsRefused) {
  const BadPart& bad = GetParam();
  const std::string body = R"({"model":"m",)" + std::string(bad.text) + "}";
  expect_refused({body.c_str(), bad.param, bad.message}, [&] { (void)parse_responses_request(body, kLimits); });
}

#define INPUT "\"input\":\"Hi\","
INSTANTIATE_TEST_SUITE_P(
    All, BadResponse,
    ::testing::Values(
        BadPart{R"("stream":false)", "input", "is required"}, BadPart{R"("input":"")", "input", "must not be empty"},
        BadPart{R"("input":[])", "input", "must not be empty"},
        BadPart{R"("input":7)", "input", "a string or an array"},
        BadPart{R"("input":[1,2,3,4,5,6,7,8,9])", "input", "at most 8"},
        BadPart{R"("input":["Hi"])", "input[0]", "must be an object"},
        BadPart{R"("input":[{"role":"user"}])", "input[0].content", "is required"},
        BadPart{R"("input":[{"role":"tool","content":"x"}])", "input[0].role", "must be one of"},
        BadPart{R"("input":[{"role":"user","content":[{"type":"input_image"}]}])", "input[0].content[0].type",
                "\"input_image\"; only parts of text"},
        BadPart{R"("input":[{"role":"user","content":[{"type":"input_text"}]}])", "input[0].content[0].text",
                "is required"},
        BadPart{R"("input":[{"type":"item_reference","id":"x"}])", "input[0].type", "\"item_reference\"; only"},
        BadPart{R"("input":[{"type":"function_call","call_id":"c","arguments":"{}"}])", "input[0].name", "is required"},
        BadPart{R"("input":[{"type":"function_call_output","output":"x"}])", "input[0].call_id", "is required"},
        BadPart{R"("input":[{"type":"function_call_output","call_id":"c"}])", "input[0].output", "is required"},
        BadPart{INPUT R"("max_output_tokens":0)", "max_output_tokens", "from 1"},
        BadPart{INPUT R"("previous_response_id":"resp_1")", "previous_response_id", "not supported"},
        BadPart{INPUT R"("conversation":"c")", "conversation", "not supported"},
        BadPart{INPUT R"("prompt":{"id":"p"})", "prompt", "not supported"},
        BadPart{INPUT R"("background":true)", "background", "other than false"},
        BadPart{INPUT R"("n":2)", "n", "other than 1"},
        BadPart{INPUT R"("tools":[{"type":"web_search"}])", "tools[0].type", "must be \"function\""},
        BadPart{INPUT R"("tools":[{"type":"function"}])", "tools[0].name", "is required"},
        BadPart{INPUT R"("tools":[{"type":"function","name":"f"},{"type":"function","name":"f"}])", "tools[1].name",
                "an earlier one"},
        BadPart{INPUT R"("tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"function","name":"g"})",
                "tool_choice", "not among the `tools`"},
        BadPart{INPUT R"("tool_choice":"required")", "tool_choice", "only allowed when `tools`"},
        BadPart{INPUT R"("tool_choice":{"type":"file_search"})", "tool_choice.type", "must be \"function\""},
        BadPart{INPUT R"("top_logprobs":21)", "top_logprobs", "from 0 to 20"},
        BadPart{INPUT R"("include":[1])", "include[0]", "must be a string"},
        BadPart{INPUT R"("text":{"format":{"type":"poem"}})", "text.format.type", "must be one of"},
        BadPart{INPUT R"("text":{"format":{"type":"json_schema","schema":{}}})", "text.format.name", "is required"},
        BadPart{INPUT R"("guided_regex":"a","text":{"format":{"type":"json_object"}})", "text.format.type",
                "beside `guided_regex`"},
        BadPart{INPUT R"("truncation":"some")", "truncation", "must be \"auto\""},
        BadPart{INPUT R"("reasoning":{"effort":"heroic"})", "reasoning.effort", "must be one of"},
        BadPart{INPUT R"("instructions":7)", "instructions", "must be a string"},
        BadPart{INPUT R"("temperature":3)", "temperature", "from 0 to 2"}));
#undef INPUT

TEST(ResponsesRequest, BecomesAConversation) {
  const ResponsesRequest request = parse_responses_request(R"({"model":"m","instructions":"S","max_output_tokens":7,
      "stream":true,"truncation":"auto","parallel_tool_calls":false,"reasoning":{"effort":"none"},"top_logprobs":2,
      "include":["reasoning.encrypted_content","message.output_text.logprobs"],"metadata":{"a":"b"},"user":"u",
      "tools":[{"type":"function","name":"f","description":"d","parameters":{"type":"object"},"strict":false}],
      "input":[{"role":"user","content":[{"type":"input_text","text":"Hi"},{"type":"input_text","text":"there"}]},
        {"type":"reasoning","id":"r","summary":[],"content":[{"type":"reasoning_text","text":"Hm"}]},
        {"type":"message","role":"assistant","content":[{"type":"output_text","text":"Ok","annotations":[]}]},
        {"type":"function_call","call_id":"c1","name":"f","arguments":"{\"a\":1}"},
        {"type":"function_call","call_id":"c2","name":"f","arguments":"{}"},
        {"type":"function_call_output","call_id":"c1","output":"42"},
        {"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"43"}]}]})",
                                                           kLimits);
  const auto& messages = request.chat.conversation.messages;
  ASSERT_EQ(messages.size(), 5U);
  EXPECT_EQ(messages[0].role, text::Role::kSystem);
  EXPECT_EQ(messages[0].content, "S");
  EXPECT_EQ(messages[1].content, "Hi\nthere");
  EXPECT_EQ(messages[2].reasoning, "Hm");
  EXPECT_EQ(messages[2].content, "Ok");
  ASSERT_EQ(messages[2].tool_calls.size(), 2U);
  EXPECT_EQ(messages[2].tool_calls[0].id, "c1");
  EXPECT_EQ(messages[2].tool_calls[0].arguments, "{\"a\":1}");
  EXPECT_EQ(messages[3].role, text::Role::kTool);
  EXPECT_EQ(messages[3].content, "42");
  EXPECT_EQ(messages[4].content, "43");
  EXPECT_EQ(messages[4].tool_call_id, "c2");
  EXPECT_EQ(request.chat.conversation.tools.at(0), boost::json::parse(R"({"type":"function","function":{"name":"f",
      "description":"d","parameters":{"type":"object"},"strict":false}})"));
  EXPECT_FALSE(request.chat.parallel_tool_calls);
  EXPECT_FALSE(request.chat.conversation.template_arguments.at("thinking").as_bool());
  const GenerationParameters& parameters = request.chat.parameters;
  EXPECT_EQ(parameters.max_tokens, 7U);
  EXPECT_TRUE(parameters.stream);
  EXPECT_TRUE(parameters.logprobs);
  EXPECT_EQ(parameters.top_logprobs, 2U);
  EXPECT_TRUE(parameters.truncation.has_value());
  EXPECT_EQ(request.echo.at("metadata"), boost::json::parse(R"({"a":"b"})"));
  EXPECT_EQ(request.echo.at("tools").at(0).at("name"), "f") << "as the client wrote it";
  EXPECT_EQ(request.echo.at("store"), false);
}

TEST(ResponsesRequest, AssistantsTextsStayApart) {
  const auto messages = parse_responses_request(R"({"model":"m","input":[{"role":"assistant","content":"one"},
      {"role":"assistant","content":"two"},{"role":"developer","content":"three"}]})",
                                                kLimits)
                            .chat.conversation.messages;
  ASSERT_EQ(messages.size(), 3U);
  EXPECT_EQ(messages[1].content, "two");
  EXPECT_EQ(messages[2].role, text::Role::kSystem);
}

TEST(ResponsesRequest, Defaults) {
  const ResponsesRequest request =
      parse_responses_request(R"({"model":"m","input":"Hi","tool_choice":"auto","top_logprobs":5})", kLimits);
  EXPECT_FALSE(request.chat.parameters.logprobs) << "only when `include` asks for them";
  EXPECT_EQ(request.chat.parameters.top_logprobs, 0U);
  EXPECT_FALSE(request.chat.parameters.truncation.has_value());
  EXPECT_FALSE(request.chat.parameters.max_tokens.has_value());
  EXPECT_EQ(request.echo.at("truncation"), "disabled");
  EXPECT_EQ(request.echo.at("text"), boost::json::parse(R"({"format":{"type":"text"}})"));
}

}  // namespace
}  // namespace bellwether::gateway
