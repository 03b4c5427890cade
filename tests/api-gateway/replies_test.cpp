// Replies as JSON and as server-sent events, in each API's shape.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include <boost/json/parse.hpp>

#include "api-gateway/chat_reply.h"
#include "api-gateway/completion_reply.h"
#include "api-gateway/messages_reply.h"
#include "api-gateway/responses_reply.h"
#include "sse_events.h"

namespace bellwether::gateway {
namespace {

namespace json = boost::json;
using testing::events_of;

const ReplyHead kHead{"req-1", 1700000000, "na\"no"};
const ReplyUsage kUsage{.prompt_tokens = 3,
                        .completion_tokens = 4,
                        .reasoning_tokens = 1,
                        .cached_prompt_tokens = 2,
                        .draft_tokens = 6,
                        .draft_tokens_accepted = 5};

ReplyOptions options(ReplyOptions made = {}) {
  if (made.prompts.empty()) made.prompts.push_back({.ids = {0, 11, 12}});
  return made;
}

// What the format appends, as JSON; "[DONE]" for the end.
template <class Append>
std::vector<json::value> appended(Append append) {
  std::string out;
  append(out);
  std::vector<json::value> values;
  for (const auto& event : events_of(out)) {
    values.push_back(event.data == "[DONE]" ? json::value(event.data) : json::parse(event.data));
  }
  return values;
}

json::value added(ReplyFormat& reply, const ReplyPart& part) {
  const auto chunks = appended([&](std::string& out) { reply.add(out, part); });
  EXPECT_EQ(chunks.size(), 1U);
  return chunks.at(0);
}

TEST(ChatReplies, ChunksAreWhatOpenAiSends) {
  ChatReply reply(kHead, options({.usage = true}));
  const auto first = appended([&](std::string& out) { reply.begin(out); });
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(first[0], json::parse(R"({"id":"chatcmpl-req-1","object":"chat.completion.chunk","created":1700000000,
      "model":"na\"no","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,
      "finish_reason":null}],"usage":null})"));
  EXPECT_EQ(added(reply, {.output = {.reasoning = "Hm"}}).at("choices").at(0).at("delta"),
            json::parse(R"({"reasoning_content":"Hm","reasoning":"Hm"})"));
  EXPECT_EQ(added(reply, {.output = {.content = "Yes\n\"\xC3\xA9"}}).at("choices").at(0).at("delta"),
            json::parse("{\"content\":\"Yes\\n\\\"\xC3\xA9\"}"));
  EXPECT_EQ(added(reply, {.end = ReplyEnd{.kind = EndKind::kLength}}).at("choices"),
            json::parse(R"([{"index":0,"delta":{},"logprobs":null,"finish_reason":"length","stop_reason":null}])"));
  const auto both = appended([&](std::string& out) {
    reply.add(out, {.output = {.content = "x"}, .end = ReplyEnd{.reason = std::string("END")}});
  });
  ASSERT_EQ(both.size(), 2U);
  EXPECT_TRUE(both[0].at("choices").at(0).at("finish_reason").is_null());
  EXPECT_EQ(both[1].at("choices").at(0).at("stop_reason"), "END");
  const auto end = appended([&](std::string& out) { reply.finish(out, kUsage); });
  ASSERT_EQ(end.size(), 2U);
  EXPECT_EQ(end[0].at("choices"), json::array());
  EXPECT_EQ(end[0].at("usage"), json::parse(R"({"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,
      "prompt_tokens_details":{"cached_tokens":2},
      "completion_tokens_details":{"reasoning_tokens":1,"draft_tokens":6,"draft_tokens_accepted":5}})"));
  EXPECT_EQ(end[1], "[DONE]");
}

TEST(ChatReplies, WithoutUsageChunksDoNotSpeakOfIt) {
  ChatReply reply(kHead, options());
  EXPECT_FALSE(added(reply, {.output = {.content = "x"}}).as_object().contains("usage"));
  EXPECT_EQ(appended([&](std::string& out) { reply.finish(out, kUsage); }).size(), 1U);
}

TEST(ChatReplies, TheUsageSoFarInEveryChunk) {
  ChatReply reply(kHead, options({.usage = true, .usage_continuous = true}));
  EXPECT_EQ(added(reply, {.output = {.content = "x"}, .tokens = 7}).at("usage"),
            json::parse(R"({"prompt_tokens":3,"completion_tokens":7,"total_tokens":10})"));
}

TEST(ChatReplies, ToolCallsAreStreamed) {
  ChatReply reply(kHead, options());
  const auto delta = [&](CallDelta call) {
    return added(reply, {.output = {.tool_calls = {std::move(call)}}}).at("choices").at(0).at("delta");
  };
  EXPECT_EQ(delta({.index = 0, .id = "c1", .name = "f", .arguments = "{"}), json::parse(R"({"tool_calls":[{"index":0,
      "id":"c1","type":"function","function":{"name":"f","arguments":"{"}}]})"));
  EXPECT_EQ(delta({.index = 0, .arguments = "}"}),
            json::parse(R"({"tool_calls":[{"index":0,"function":{"arguments":"}"}}]})"));
  EXPECT_EQ(delta({.index = 1, .id = "c2", .name = "g"}).at("tool_calls").at(0).at("index"), 1);
}

TEST(ChatReplies, TokenIdsWhenWanted) {
  ChatReply reply(kHead, options({.token_ids = true}));
  const auto first = appended([&](std::string& out) { reply.begin(out); });
  EXPECT_EQ(first.at(0).at("prompt_token_ids"), (json::array{0, 11, 12}));
  EXPECT_EQ(added(reply, {.ids = {5, 6}}).at("choices").at(0).at("token_ids"), (json::array{5, 6})) << "with no text";
  const json::value whole = json::parse(reply.whole({{.ids = {5, 6, 1}, .end = ReplyEnd{}}}, kUsage));
  EXPECT_EQ(whole.at("prompt_token_ids"), (json::array{0, 11, 12}));
  EXPECT_EQ(whole.at("choices").at(0).at("token_ids"), (json::array{5, 6, 1}));
}

TEST(ChatReplies, AFailureIsAnErrorAndTheEnd) {
  ChatReply reply(kHead, options());
  const auto events = appended([&](std::string& out) { reply.fail(out, {503, "replica_gone", "gone"}); });
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].at("error").at("code"), 503);
  EXPECT_EQ(events[1], "[DONE]");
}

TEST(ChatReplies, Whole) {
  ChatReply reply(kHead, options());
  const json::value whole =
      json::parse(reply.whole({{.output = {.reasoning = "Hm", .content = "Yes"}, .end = ReplyEnd{}}},
                              {.prompt_tokens = 3, .completion_tokens = 4, .reasoning_tokens = 2}));
  EXPECT_EQ(whole, json::parse(R"({"id":"chatcmpl-req-1","object":"chat.completion","created":1700000000,
      "model":"na\"no","choices":[{"index":0,"message":{"role":"assistant","content":"Yes","reasoning_content":"Hm",
      "reasoning":"Hm"},"logprobs":null,"finish_reason":"stop","stop_reason":null}],
      "usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,
      "completion_tokens_details":{"reasoning_tokens":2,"draft_tokens":0,"draft_tokens_accepted":0}}})"));
  const auto message = [&](OutputDelta output) {
    return json::parse(reply.whole({{.output = std::move(output), .end = ReplyEnd{}}}, {}))
        .at("choices")
        .at(0)
        .at("message");
  };
  EXPECT_TRUE(message({.reasoning = "only"}).at("content").is_null());
  EXPECT_EQ(message({}).at("content").as_string(), "");
  EXPECT_TRUE(message({}).at("reasoning_content").is_null());
  const json::value called = message({.tool_calls = {{0, "c1", "f", "{}"}}});
  EXPECT_TRUE(called.at("content").is_null());
  EXPECT_EQ(called.at("tool_calls"),
            json::parse(R"([{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}])"));
}

const std::vector<TokenLogprobs> kLogprobs = {{{5, "\xC3", -0.5}, {{5, "\xC3", -0.5}, {6, "a", -1}}},
                                              {{7, "b", -2}, {}}};

TEST(ChatReplies, Logprobs) {
  ChatReply reply(kHead, options({.logprobs = true}));
  const json::value chunk = added(reply, {.output = {.content = "x"}, .logprobs = kLogprobs});
  const json::value& content = chunk.at("choices").at(0).at("logprobs").at("content");
  EXPECT_EQ(content.at(0).at("token").as_string(), "\xEF\xBF\xBD");
  EXPECT_EQ(content.at(0).at("bytes"), (json::array{0xC3}));
  EXPECT_EQ(content.at(0).at("top_logprobs").at(1).at("logprob").to_number<double>(), -1);
  EXPECT_EQ(content.at(1).at("top_logprobs"), json::array());
  ChatReply as_ids(kHead, options({.logprobs = true, .tokens_as_ids = true}));
  EXPECT_EQ(added(as_ids, {.logprobs = kLogprobs}).at("choices").at(0).at("logprobs").at("content").at(1).at("token"),
            "token_id:7");
}

TEST(CompletionReplies, ChunksAndWhole) {
  CompletionReply reply(kHead, options({.logprobs = true}));
  EXPECT_EQ(appended([&](std::string& out) { reply.begin(out); }).size(), 0U);
  const json::value chunk = added(reply, {.output = {.content = "xb"}, .logprobs = kLogprobs});
  EXPECT_EQ(chunk.at("object").as_string(), "text_completion");
  EXPECT_EQ(chunk.at("choices").at(0).at("text").as_string(), "xb");
  EXPECT_EQ(chunk.at("choices").at(0).at("logprobs").at("text_offset"), (json::array{0, 1}));
  EXPECT_EQ(chunk.at("choices").at(0).at("logprobs").at("tokens").at(1).as_string(), "b");
  const json::value whole =
      json::parse(reply.whole({{.output = {.content = "xb"}, .end = ReplyEnd{.kind = EndKind::kLength}}}, kUsage));
  EXPECT_EQ(whole.at("id").as_string(), "cmpl-req-1");
  EXPECT_EQ(whole.at("choices").at(0).at("finish_reason").as_string(), "length");
  EXPECT_EQ(whole.at("usage").at("prompt_tokens_details").at("cached_tokens"), 2);
  EXPECT_FALSE(whole.at("choices").at(0).as_object().contains("prompt_logprobs"));
}

TEST(CompletionReplies, PromptLogprobsHaveVllmsShape) {
  CompletionReply reply(kHead, options({.prompt_logprobs = true, .choices_per_prompt = 2}));
  const json::value whole = json::parse(
      reply.whole({{.prompt_logprobs = kLogprobs, .end = ReplyEnd{}}, {.choice = 1, .end = ReplyEnd{}}}, kUsage));
  for (const size_t choice : {0, 1}) {
    EXPECT_EQ(whole.at("choices").at(choice).at("prompt_logprobs"), json::parse(R"([null,
      {"5":{"logprob":-0.5,"rank":1,"decoded_token":"\ufffd"},"6":{"logprob":-1.0,"rank":2,"decoded_token":"a"}},
      {"7":{"logprob":-2.0,"rank":null,"decoded_token":"b"}}])"));
  }
}

// The prompt "no" of two tokens, "n" and "o".
const std::vector<TokenLogprobs> kSecondOfPrompt = {{{12, "o", -3}, {{12, "o", -3}}}};

TEST(CompletionReplies, EchoBeginsEachChoiceWithItsPrompt) {
  CompletionReply reply(kHead, options({.logprobs = true,
                                        .echo = true,
                                        .choices_per_prompt = 2,
                                        .prompts = {{.ids = {11, 12}, .text = "no", .first_token = "n"}}}));
  const auto first =
      added(reply, {.output = {.content = "b"}, .logprobs = {{{7, "b", -2}, {}}}, .prompt_logprobs = kSecondOfPrompt});
  EXPECT_EQ(first.at("choices").at(0).at("text"), "nob");
  EXPECT_EQ(first.at("choices").at(0).at("logprobs"), json::parse(R"({"tokens":["n","o","b"],
      "token_logprobs":[null,-3.0,-2.0],"top_logprobs":[null,{"o":-3.0},{}],"text_offset":[0,1,2]})"));
  EXPECT_EQ(added(reply, {.output = {.content = "c"}}).at("choices").at(0).at("text"), "c") << "once";
  const auto second = added(reply, {.choice = 1, .output = {.content = "d"}});
  EXPECT_EQ(second.at("choices").at(0).at("text"), "nod");
  EXPECT_EQ(second.at("choices").at(0).at("logprobs").at("tokens"), (json::array{"n", "o"}));
}

TEST(CompletionReplies, ABeginOfSentenceThatWasAddedIsNotEchoed) {
  CompletionReply reply(
      kHead, options({.logprobs = true,
                      .echo = true,
                      .prompts = {{.ids = {0, 12}, .begins_with_bos = true, .text = "o", .first_token = "^"}}}));
  const json::value whole = json::parse(reply.whole({{.prompt_logprobs = kSecondOfPrompt, .end = ReplyEnd{}}}, kUsage));
  EXPECT_EQ(whole.at("choices").at(0).at("text"), "o");
  EXPECT_EQ(whole.at("choices").at(0).at("logprobs").at("tokens"), (json::array{"o"}));
  EXPECT_EQ(whole.at("choices").at(0).at("logprobs").at("token_logprobs").at(0).to_number<double>(), -3);
}

TEST(CompletionReplies, TokenIdsOfEachChoice) {
  CompletionReply reply(kHead, options({.token_ids = true, .prompts = {{.ids = {1}}, {.ids = {2, 3}}}}));
  const json::value chunk = added(reply, {.choice = 1, .ids = {9}});
  EXPECT_EQ(chunk.at("choices").at(0).at("token_ids"), (json::array{9}));
  EXPECT_EQ(chunk.at("choices").at(0).at("prompt_token_ids"), (json::array{2, 3}));
  EXPECT_FALSE(added(reply, {.choice = 1, .ids = {9}}).at("choices").at(0).as_object().contains("prompt_token_ids"));
}

TEST(MessagesReplies, AStreamOfBlocks) {
  MessagesReply reply(kHead, 3);
  std::string out;
  reply.begin(out);
  reply.add(out, {.output = {.reasoning = "Hm"}});
  reply.add(out, {.output = {.reasoning = "m", .content = "Yes"}});
  reply.add(out, {.output = {.tool_calls = {{.id = "c1", .name = "f", .arguments = "{"}}}});
  reply.add(out, {.output = {.tool_calls = {{.arguments = "}"}}}, .end = ReplyEnd{.kind = EndKind::kToolCalls}});
  reply.finish(out, kUsage);
  std::string names;
  std::vector<json::value> data;
  for (const auto& event : events_of(out)) {
    data.push_back(json::parse(event.data));
    EXPECT_EQ(data.back().at("type").as_string(), event.name);
    names += event.name + " ";
  }
  EXPECT_EQ(names,
            "message_start content_block_start content_block_delta content_block_delta content_block_stop "
            "content_block_start content_block_delta content_block_stop content_block_start content_block_delta "
            "content_block_delta content_block_stop message_delta message_stop ");
  EXPECT_EQ(data[0].at("message").at("usage").at("input_tokens"), 3);
  EXPECT_EQ(data[2].at("delta"), json::parse(R"({"type":"thinking_delta","thinking":"Hm"})"));
  EXPECT_EQ(data[6].at("delta"), json::parse(R"({"type":"text_delta","text":"Yes"})"));
  EXPECT_EQ(data[8], json::parse(R"({"type":"content_block_start","index":2,
      "content_block":{"type":"tool_use","id":"c1","name":"f","input":{}}})"));
  EXPECT_EQ(data[10].at("delta"), json::parse(R"({"type":"input_json_delta","partial_json":"}"})"));
  EXPECT_EQ(data[12].at("delta").at("stop_reason"), "tool_use");
  EXPECT_EQ(data[12].at("usage"), json::parse(R"({"input_tokens":1,"cache_creation_input_tokens":0,
      "cache_read_input_tokens":2,"output_tokens":4})"));
}

TEST(MessagesReplies, WholeAndFailures) {
  MessagesReply reply(kHead, 3);
  const json::value whole =
      json::parse(reply.whole({{.output = {.reasoning = "Hm",
                                           .content = "Yes",
                                           .tool_calls = {{0, "c1", "f", "{\"a\":1}"}, {1, "c2", "g", "x"}}},
                                .end = ReplyEnd{.reason = std::string("END")}}},
                              kUsage));
  EXPECT_EQ(whole.at("content"), json::parse(R"([{"type":"thinking","thinking":"Hm","signature":""},
      {"type":"text","text":"Yes"},{"type":"tool_use","id":"c1","name":"f","input":{"a":1}},
      {"type":"tool_use","id":"c2","name":"g","input":{"arguments":"x"}}])"));
  EXPECT_EQ(whole.at("stop_reason"), "stop_sequence");
  EXPECT_EQ(whole.at("stop_sequence"), "END");
  const auto response = messages_response_of({400, "bad_request", "is bad", "max_tokens"});
  EXPECT_EQ(json::parse(response.body), json::parse(R"({"type":"error",
      "error":{"type":"invalid_request_error","message":"max_tokens: is bad"}})"));
}

// The events' data; the names must be their types, the numbers without a gap.
std::vector<json::value> responses_events(const std::string& out) {
  std::vector<json::value> data;
  for (const auto& event : events_of(out)) {
    data.push_back(json::parse(event.data));
    EXPECT_EQ(data.back().at("type").as_string(), event.name);
    EXPECT_EQ(data.back().at("sequence_number"), data.size() - 1);
  }
  return data;
}

std::string types_of(const std::vector<json::value>& events) {
  std::string types;
  for (const json::value& event : events) {
    types += std::string(event.at("type").as_string().subview(sizeof("response.") - 1)) + " ";
  }
  return types;
}

TEST(ResponsesReplies, AStreamOfItems) {
  ResponsesReply reply(kHead, {{"instructions", "Be brief."}}, false);
  std::string out;
  reply.begin(out);
  reply.add(out, {.output = {.reasoning = "Hm"}});
  reply.add(out, {.output = {.reasoning = "m", .content = "Ye\"s"}});
  reply.add(out, {.output = {.tool_calls = {{.id = "c1", .name = "f", .arguments = "{"}}}});
  reply.add(out, {.output = {.tool_calls = {{.arguments = "}"}, {.index = 1, .id = "c2", .name = "g"}}},
                  .end = ReplyEnd{.kind = EndKind::kToolCalls}});
  reply.finish(out, kUsage);
  const auto events = responses_events(out);
  EXPECT_EQ(types_of(events),
            "created in_progress "
            "output_item.added content_part.added reasoning_text.delta reasoning_text.delta reasoning_text.done "
            "content_part.done output_item.done "
            "output_item.added content_part.added output_text.delta output_text.done content_part.done "
            "output_item.done "
            "output_item.added function_call_arguments.delta function_call_arguments.delta "
            "function_call_arguments.done output_item.done "
            "output_item.added function_call_arguments.done output_item.done completed ");
  EXPECT_EQ(events[0].at("response").at("status"), "in_progress");
  EXPECT_EQ(events[0].at("response").at("instructions"), "Be brief.");
  EXPECT_TRUE(events[0].at("response").at("usage").is_null());
  EXPECT_EQ(events[4], json::parse(R"({"type":"response.reasoning_text.delta","sequence_number":4,
      "item_id":"rs_req-1_0","output_index":0,"content_index":0,"delta":"Hm"})"));
  EXPECT_EQ(events[6].at("text"), "Hmm");
  EXPECT_EQ(events[10].at("part"), json::parse(R"({"type":"output_text","text":"","annotations":[],"logprobs":[]})"));
  EXPECT_EQ(events[11], json::parse(R"({"type":"response.output_text.delta","sequence_number":11,
      "item_id":"msg_req-1_1","output_index":1,"content_index":0,"delta":"Ye\"s","logprobs":[]})"));
  EXPECT_EQ(events[15].at("item"), json::parse(R"({"id":"fc_req-1_2","type":"function_call","call_id":"c1","name":"f",
      "arguments":"","status":"in_progress"})"));
  EXPECT_EQ(events[17], json::parse(R"({"type":"response.function_call_arguments.delta","sequence_number":17,
      "item_id":"fc_req-1_2","output_index":2,"delta":"}"})"));
  EXPECT_EQ(events[18].at("name"), "f");
  EXPECT_EQ(events[18].at("arguments"), "{}");
  const json::value& response = events.back().at("response");
  EXPECT_EQ(response.at("status"), "completed");
  EXPECT_TRUE(response.at("incomplete_details").is_null());
  ASSERT_EQ(response.at("output").as_array().size(), 4U);
  for (const size_t i : {8U, 14U, 19U, 22U}) {
    EXPECT_EQ(response.at("output").at(events[i].at("output_index").to_number<size_t>()), events[i].at("item"));
  }
  EXPECT_EQ(response.at("usage"), json::parse(R"({"input_tokens":3,"input_tokens_details":{"cached_tokens":2},
      "output_tokens":4,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":7})"));
}

TEST(ResponsesReplies, WholeIsWhatTheStreamEndsWith) {
  const ReplyPart part{
      .output = {.reasoning = "Hm", .content = "Yes", .tool_calls = {{0, "c1", "f", "{\"a\":1}"}, {1, "c2", "g", "x"}}},
      .end = ReplyEnd{}};
  ResponsesReply whole(kHead, {}, false);
  ResponsesReply streamed(kHead, {}, false);
  std::string out;
  streamed.begin(out);
  streamed.add(out, part);
  streamed.finish(out, kUsage);
  const json::value reply = json::parse(whole.whole({part}, kUsage));
  EXPECT_EQ(reply, responses_events(out).back().at("response"));
  EXPECT_EQ(reply.at("id"), "resp_req-1");
  EXPECT_EQ(reply.at("output"), json::parse(R"([
      {"id":"rs_req-1_0","type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"Hm"}],
       "status":"completed"},
      {"id":"msg_req-1_1","type":"message","role":"assistant","status":"completed",
       "content":[{"type":"output_text","text":"Yes","annotations":[],"logprobs":[]}]},
      {"id":"fc_req-1_2","type":"function_call","call_id":"c1","name":"f","arguments":"{\"a\":1}","status":"completed"},
      {"id":"fc_req-1_3","type":"function_call","call_id":"c2","name":"g","arguments":"x","status":"completed"}])"));
}

TEST(ResponsesReplies, CutOff) {
  const ReplyPart part{.output = {.content = "Ye"}, .end = ReplyEnd{.kind = EndKind::kLength}};
  ResponsesReply streamed(kHead, {}, false);
  std::string out;
  streamed.add(out, part);
  streamed.finish(out, kUsage);
  const auto events = responses_events(out);
  EXPECT_EQ(events.back().at("type"), "response.incomplete");
  const json::value& response = events.back().at("response");
  EXPECT_EQ(response.at("status"), "incomplete");
  EXPECT_EQ(response.at("incomplete_details").at("reason"), "max_output_tokens");
  EXPECT_EQ(response.at("output").at(0).at("status"), "incomplete");
  ResponsesReply whole(kHead, {}, false);
  EXPECT_EQ(json::parse(whole.whole({part}, kUsage)), response);
}

TEST(ResponsesReplies, AFailureIsTheResponsesLastStateAndAnError) {
  ResponsesReply reply(kHead, {}, false);
  std::string out;
  reply.add(out, {.output = {.content = "Ye"}});
  reply.fail(out, {503, "replica_gone", "gone"});
  const auto events = responses_events(out);
  ASSERT_GE(events.size(), 2U);
  const json::value& response = events[events.size() - 2].at("response");
  EXPECT_EQ(response.at("status"), "failed");
  EXPECT_EQ(response.at("error"), json::parse(R"({"code":"server_error","message":"gone"})"));
  EXPECT_EQ(response.at("output").at(0).at("content").at(0).at("text"), "Ye");
  EXPECT_EQ(events.back().at("type"), "error");
  EXPECT_EQ(events.back().at("message"), "gone");
  EXPECT_EQ(events.back().at("error").at("message"), "gone");
}

TEST(ResponsesReplies, LogprobsOfTheAnswerAlone) {
  ResponsesReply reply(kHead, {}, true);
  std::string out;
  // Two tokens of reasoning, and one whose text comes later.
  reply.add(out, {.output = {.reasoning = "Hm"},
                  .logprobs = {{{5, "H", -1}, {}}, {{6, "m", -1}, {}}, {{7, "Y", -2}, {{7, "Y", -2}}}},
                  .reasoning_tokens = 2});
  reply.add(out, {.output = {.content = "Yes"}, .logprobs = {{{8, "es", -3}, {}}}, .end = ReplyEnd{}});
  reply.finish(out, kUsage);
  const auto events = responses_events(out);
  const json::value& content = events.back().at("response").at("output").at(1).at("content").at(0);
  ASSERT_EQ(content.at("logprobs").as_array().size(), 2U);
  EXPECT_EQ(content.at("logprobs").at(0).at("token"), "Y");
  EXPECT_EQ(content.at("logprobs").at(0).at("top_logprobs").at(0).at("bytes"), (json::array{0x59}));
  EXPECT_EQ(content.at("logprobs").at(1).at("logprob").to_number<double>(), -3);
  ResponsesReply without(kHead, {}, false);
  const json::value whole = json::parse(
      without.whole({{.output = {.content = "Yes"}, .logprobs = {{{8, "es", -3}, {}}}, .end = ReplyEnd{}}}, kUsage));
  EXPECT_EQ(whole.at("output").at(0).at("content").at(0).at("logprobs"), json::array());
}

TEST(Replies, EachChoiceHasItsOwnIndexAndCounts) {
  ChatReply chat(kHead, options({.choices_per_prompt = 3}));
  const auto first = appended([&](std::string& out) { chat.begin(out); });
  ASSERT_EQ(first.size(), 3U);
  EXPECT_EQ(first[2].at("choices").at(0).at("index"), 2);
  EXPECT_EQ(added(chat, {.choice = 2, .end = ReplyEnd{}}).at("choices").at(0).at("index"), 2);
  const json::value whole =
      json::parse(chat.whole({{.output = {.content = "a"}, .end = ReplyEnd{}},
                              {.choice = 1, .output = {.content = "b"}, .end = ReplyEnd{.kind = EndKind::kLength}}},
                             {}));
  EXPECT_EQ(whole.at("choices").at(1).at("index"), 1);
  EXPECT_EQ(whole.at("choices").at(1).at("message").at("content"), "b");
  EXPECT_EQ(whole.at("choices").at(1).at("finish_reason"), "length");

  CompletionReply text(kHead, options({.logprobs = true, .choices_per_prompt = 2}));
  const auto offsets = [&](uint32_t choice) {
    return added(text, {.choice = choice, .logprobs = kLogprobs}).at("choices").at(0).at("logprobs").at("text_offset");
  };
  EXPECT_EQ(offsets(0), (json::array{0, 1}));
  EXPECT_EQ(offsets(1), (json::array{0, 1}));
  EXPECT_EQ(offsets(0), (json::array{2, 3}));
}

}  // namespace
}  // namespace bellwether::gateway
