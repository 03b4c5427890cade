// What the gateway knows of the mesh, what it asks of it, and what it answers: pure parts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "api-gateway/chat_reply.h"
#include "api-gateway/completion_reply.h"
#include "api-gateway/failure.h"
#include "api-gateway/generate_request.h"
#include "api-gateway/model_directory.h"
#include "api-gateway/request_id.h"
#include "scripted_mesh.h"

namespace bellwether::gateway {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
namespace json = boost::json;

class DirectoryTest : public ::testing::Test {
 protected:
  v1::ReplicaState state(const std::string& id, uint64_t epoch = 1, uint64_t sequence = 1) const {
    v1::ReplicaState made;
    made.set_replica_id(id);
    made.set_epoch(epoch);
    made.set_sequence(sequence);
    made.set_model("nano");
    made.set_card_digest("d1");
    made.set_phase(v1::REPLICA_PHASE_READY);
    made.mutable_capacity()->set_context_tokens_max(100);
    return made;
  }

  mesh::TimePoint now_{};
  ModelDirectory directory_{[this] { return now_; }};
};

TEST_F(DirectoryTest, AHeadIsGoneAfterASecondOfSilence) {
  EXPECT_TRUE(directory_.empty());
  directory_.observe(state("a"));
  now_ += milliseconds(1000);
  EXPECT_THAT(directory_.sweep(), IsEmpty());
  EXPECT_TRUE(directory_.find("nano").has_value());
  now_ += milliseconds(1);
  EXPECT_FALSE(directory_.find("nano").has_value());
  const auto gone = directory_.sweep();
  ASSERT_THAT(gone, SizeIs(1));
  EXPECT_EQ(gone[0].head, (Head{"a", 1}));
  EXPECT_TRUE(directory_.knows("nano"));
  EXPECT_FALSE(directory_.empty());
  EXPECT_FALSE(directory_.knows("other"));
}

TEST_F(DirectoryTest, SilenceIsExcusedWhileTheBusIsAway) {
  directory_.observe(state("a"));
  now_ += milliseconds(5000);
  directory_.excuse_silence();
  EXPECT_THAT(directory_.sweep(), IsEmpty());
  EXPECT_TRUE(directory_.find("nano").has_value());
}

TEST_F(DirectoryTest, FailedStoppedAndRebuiltHeadsAreGoneAtOnce) {
  directory_.observe(state("a"));
  v1::ReplicaState failed = state("a", 1, 2);
  failed.set_phase(v1::REPLICA_PHASE_FAILED);
  failed.set_failure("rank 3 is stuck");
  const auto gone = directory_.observe(failed);
  ASSERT_THAT(gone, SizeIs(1));
  EXPECT_THAT(gone[0].why, HasSubstr("rank 3 is stuck"));
  EXPECT_FALSE(directory_.find("nano").has_value());

  directory_.observe(state("b", 1));
  const auto rebuilt = directory_.observe(state("b", 2, 0));
  ASSERT_THAT(rebuilt, SizeIs(1));
  EXPECT_EQ(rebuilt[0].head, (Head{"b", 1}));
  EXPECT_TRUE(directory_.find("nano").has_value());
}

TEST_F(DirectoryTest, OldStatesAreDropped) {
  directory_.observe(state("a", 2, 5));
  v1::ReplicaState old_epoch = state("a", 1, 9);
  old_epoch.set_phase(v1::REPLICA_PHASE_FAILED);
  EXPECT_THAT(directory_.observe(old_epoch), IsEmpty());
  v1::ReplicaState old_state = state("a", 2, 4);
  old_state.set_phase(v1::REPLICA_PHASE_DRAINING);
  directory_.observe(old_state);
  EXPECT_EQ(directory_.find("nano")->heads_ready, 1U);
}

TEST_F(DirectoryTest, OnlyReadyHeadsServe) {
  v1::ReplicaState loading = state("a");
  loading.set_phase(v1::REPLICA_PHASE_LOADING);
  directory_.observe(loading);
  EXPECT_FALSE(directory_.find("nano").has_value());
  EXPECT_TRUE(directory_.knows("nano"));
  EXPECT_THAT(directory_.heads_of("nano"), ElementsAre(Head{"a", 1}));
}

TEST_F(DirectoryTest, TheDigestOfMostHeadsAndTheSmallestContextCount) {
  directory_.observe(state("a"));
  v1::ReplicaState other = state("b");
  other.set_card_digest("d2");
  other.mutable_capacity()->set_context_tokens_max(50);
  directory_.observe(other);
  other.set_replica_id("c");
  directory_.observe(other);
  const auto status = directory_.find("nano");
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(status->card_digest, "d2");
  EXPECT_EQ(status->context_tokens_max, 50U);
  EXPECT_EQ(status->heads_ready, 3U);
}

TEST_F(DirectoryTest, AHeadThatASchedulerKnowsFirstHasASecondToSpeak) {
  EXPECT_TRUE(directory_.expect({"new", 4}));
  EXPECT_THAT(directory_.list(), IsEmpty());
  EXPECT_FALSE(directory_.expect({"new", 3}));
  now_ += milliseconds(1001);
  EXPECT_THAT(directory_.sweep(), SizeIs(1));
  directory_.observe(state("new", 4));
  EXPECT_TRUE(directory_.expect({"new", 4}));
}

class GenerateRequestTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    model_ = std::make_shared<const ServedModel>(make_served_model(testing::demo_card()));
  }
  static v1::GenerateRequest make(const GenerationParameters& parameters, const std::vector<text::TokenId>& ids) {
    return make_generate_request(parameters, *model_, ids, kLimits, 99, "prompt");
  }
  static Failure failure_of_call(const std::function<void()>& call) {
    try {
      call();
    } catch (const RequestFailed& error) {
      return error.failure();
    }
    ADD_FAILURE() << "nothing was thrown";
    return {};
  }
  static constexpr PromptLimits kLimits{.context_tokens_max = 20, .prompt_tokens_max = 1000};
  static inline std::shared_ptr<const ServedModel> model_;
};

TEST_F(GenerateRequestTest, DefaultsOfTheModelFillWhatTheClientLeavesOut) {
  const v1::GenerateRequest request = make({.model = "nano"}, {5, 6, 7});
  EXPECT_FLOAT_EQ(request.sampling().temperature(), 0.6F);
  EXPECT_FLOAT_EQ(request.sampling().top_p(), 0.95F);
  EXPECT_EQ(request.sampling().top_k(), 0U);
  EXPECT_EQ(request.sampling().repetition_penalty(), 1);
  ASSERT_EQ(request.choices_size(), 1);
  EXPECT_EQ(request.choices(0).seed(), 99U);
  EXPECT_EQ(request.max_tokens(), 17U);
  EXPECT_EQ(request.attempt(), 1U);
  EXPECT_THAT(request.stop_ids(), ElementsAre(1U));
  EXPECT_THAT(request.prompt_ids(), ElementsAre(5U, 6U, 7U));
}

TEST_F(GenerateRequestTest, TheClientsWordsCount) {
  const v1::GenerateRequest request = make({.model = "nano",
                                            .temperature = 0,
                                            .top_p = 0.5,
                                            .top_k = 7,
                                            .seed = 3,
                                            .max_tokens = 4,
                                            .stop_token_ids = {8},
                                            .ignore_eos = true,
                                            .logprobs = true,
                                            .top_logprobs = 2,
                                            .min_p = 0.25,
                                            .repetition_penalty = 1.5,
                                            .presence_penalty = -1,
                                            .frequency_penalty = 0.5,
                                            .logit_bias = {{9, -2}},
                                            .min_tokens = 2,
                                            .prompt_logprobs = 1,
                                            .cache_salt = "tenant"},
                                           {5});
  EXPECT_EQ(request.sampling().temperature(), 0);
  EXPECT_EQ(request.sampling().top_p(), 0.5F);
  EXPECT_EQ(request.sampling().top_k(), 7U);
  EXPECT_EQ(request.sampling().min_p(), 0.25F);
  EXPECT_EQ(request.sampling().repetition_penalty(), 1.5F);
  EXPECT_EQ(request.sampling().presence_penalty(), -1);
  EXPECT_EQ(request.sampling().frequency_penalty(), 0.5F);
  ASSERT_EQ(request.sampling().logit_bias_size(), 1);
  EXPECT_EQ(request.sampling().logit_bias(0).id(), 9U);
  EXPECT_EQ(request.sampling().logit_bias(0).bias(), -2);
  EXPECT_EQ(request.choices(0).seed(), 3U);
  EXPECT_EQ(request.min_tokens(), 2U);
  EXPECT_EQ(request.prompt_logprobs(), 1U);
  EXPECT_EQ(request.cache_salt(), "tenant");
  EXPECT_EQ(request.sampling().top_logprobs(), 2U);
  EXPECT_TRUE(request.sampling().logprobs());
  EXPECT_EQ(request.max_tokens(), 4U);
  EXPECT_TRUE(request.ignore_eos());
  EXPECT_THAT(request.stop_ids(), ElementsAre(8U));
}

TEST_F(GenerateRequestTest, PromptsThatDoNotFitAreRefusedWithNumbers) {
  const Failure failure = failure_of_call([] { (void)make({}, std::vector<text::TokenId>(20, 5)); });
  EXPECT_EQ(failure.status, 400U);
  EXPECT_EQ(failure.param, "prompt");
  EXPECT_THAT(failure.message, HasSubstr("holds 20 tokens, prompt and output together, and the prompt has 20"));
  EXPECT_EQ(make({}, std::vector<text::TokenId>(19, 5)).max_tokens(), 1U);

  const Failure long_text =
      failure_of_call([] { (void)encode_prompt(*model_, std::string(1'000'000, 'x'), kLimits, "messages"); });
  EXPECT_THAT(long_text.message, HasSubstr("at least"));
  const Failure limit = failure_of_call([] {
    (void)encode_prompt(*model_, "one two three", {.context_tokens_max = 100, .prompt_tokens_max = 2}, "messages");
  });
  EXPECT_THAT(limit.message, HasSubstr("at most 2 tokens"));
}

TEST_F(GenerateRequestTest, IdsThatTheModelDoesNotHaveAreRefused) {
  EXPECT_THAT(failure_of_call([] { (void)make({}, {1, 2048}); }).message, HasSubstr("`prompt[1]` is 2048"));
}

TEST_F(GenerateRequestTest, ChoicesHaveSeedsThatCountUp) {
  const v1::GenerateRequest request = make({.seed = UINT64_MAX, .choices = 3}, {5});
  ASSERT_EQ(request.choices_size(), 3);
  EXPECT_EQ(request.choices(0).seed(), UINT64_MAX);
  EXPECT_EQ(request.choices(2).seed(), 1U);
  EXPECT_EQ(request.choices(2).index(), 2U);
}

TEST_F(GenerateRequestTest, ParametersThatDoNotFitTheModelAreRefusedByName) {
  const Failure bias = failure_of_call([] { (void)make({.logit_bias = {{2048, 1}}}, {5}); });
  EXPECT_EQ(bias.status, 400U);
  EXPECT_EQ(bias.param, "logit_bias");
  EXPECT_EQ(failure_of_call([] { (void)make({.max_tokens = 3, .min_tokens = 4}, {5}); }).param, "min_tokens");
  EXPECT_EQ(make({.max_tokens = 100, .min_tokens = 50}, {5}).min_tokens(), 19U) << "the context ends before";
}

TEST_F(GenerateRequestTest, PlainPromptsBeginWithBeginOfSentenceOnce) {
  const auto ids = encode_plain_prompt(*model_, "Hello", kLimits, "prompt");
  EXPECT_EQ(ids.at(0), 0);
  EXPECT_EQ(encode_plain_prompt(*model_, "<｜begin▁of▁sentence｜>Hello", kLimits, "prompt"), ids);
}

TEST(RequestIds, AreTakenFromTheClientWhenTheyAreHarmless) {
  EXPECT_EQ(make_request_id("my-id_1.2").client, "my-id_1.2");
  EXPECT_TRUE(make_request_id("my-id").mesh.starts_with("my-id-"));
  EXPECT_NE(make_request_id("my-id").mesh, make_request_id("my-id").mesh);
  for (const std::string& bad :
       {std::string(), std::string(65, 'a'), std::string("a b"), std::string("a\n"), std::string("\xC3\xA9")}) {
    const RequestId id = make_request_id(bad);
    EXPECT_NE(id.client, bad);
    EXPECT_EQ(id.client, id.mesh);
    EXPECT_TRUE(id.client.starts_with("req-"));
  }
  EXPECT_EQ(make_request_id(std::string(64, 'a')).client, std::string(64, 'a'));
}

TEST(Failures, CarryRetryAfterInWholeSeconds) {
  const mesh::HttpResponse response = response_of({503, "overloaded", "full", "", milliseconds(1200)});
  EXPECT_EQ(response.status, 503U);
  EXPECT_THAT(response.headers, ElementsAre(std::pair<std::string, std::string>("Retry-After", "2")));
  EXPECT_THAT(response_of({400, "bad_request", "no", "n"}).headers, IsEmpty());
  const json::value body = json::parse(response_of({400, "bad_request", "no", "messages[0]"}).body);
  EXPECT_EQ(body.at("error").at("param").as_string(), "messages[0]");
}

TEST(Failures, InternalWordsStayInside) {
  const Failure failure = failure_of({mesh::ErrorCode::kInternal, "secret path"});
  EXPECT_EQ(failure.status, 500U);
  EXPECT_THAT(failure.message, ::testing::Not(HasSubstr("secret")));
}

const ReplyHead kHead{"req-1", 1700000000, "na\"no"};

TEST(ChatReplies, ChunksAreWhatOpenAiSends) {
  ChatReply reply(kHead, true, false);
  const json::value first = json::parse(reply.first_chunk(0));
  EXPECT_EQ(first, json::parse(R"({"id":"chatcmpl-req-1","object":"chat.completion.chunk","created":1700000000,
      "model":"na\"no","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,
      "finish_reason":null}],"usage":null})"));
  const json::value reasoning = json::parse(reply.chunk({.output = {.reasoning = "Hm"}}));
  EXPECT_EQ(reasoning.at("choices").at(0).at("delta"), json::parse(R"({"reasoning_content":"Hm","reasoning":"Hm"})"));
  const json::value content = json::parse(reply.chunk({.output = {.content = "Yes\n"}}));
  EXPECT_EQ(content.at("choices").at(0).at("delta"), json::parse(R"({"content":"Yes\n"})"));
  EXPECT_EQ(json::parse(reply.last_chunk(0, ReplyEnd::kLength)).at("choices"),
            json::parse(R"([{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}])"));
  const json::value usage = json::parse(reply.usage_chunk({3, 4, 2}));
  EXPECT_EQ(usage.at("choices"), json::array());
  EXPECT_EQ(usage.at("usage"), json::parse(R"({"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,
      "prompt_tokens_details":{"cached_tokens":2}})"));
}

TEST(ChatReplies, WithoutUsageChunksDoNotSpeakOfIt) {
  ChatReply reply(kHead, false, false);
  EXPECT_FALSE(json::parse(reply.first_chunk(0)).as_object().contains("usage"));
}

TEST(ChatReplies, ToolCallsAreNumberedThroughTheStream) {
  ChatReply reply(kHead, false, false);
  const json::value one = json::parse(reply.chunk({.output = {.tool_calls = {{"c1", "f", "{}"}}}}));
  const json::value two = json::parse(reply.chunk({.output = {.tool_calls = {{"c2", "g", "{}"}}}}));
  EXPECT_EQ(one.at("choices").at(0).at("delta"), json::parse(R"({"tool_calls":[{"index":0,"id":"c1",
      "type":"function","function":{"name":"f","arguments":"{}"}}]})"));
  EXPECT_EQ(two.at("choices").at(0).at("delta").at("tool_calls").at(0).at("index"), 1);
}

TEST(ChatReplies, Whole) {
  ChatReply reply(kHead, false, false);
  const json::value whole =
      json::parse(reply.whole({{.output = {.reasoning = "Hm", .content = "Yes"}, .end = ReplyEnd::kStop}}, {3, 4, {}}));
  EXPECT_EQ(whole, json::parse(R"({"id":"chatcmpl-req-1","object":"chat.completion","created":1700000000,
      "model":"na\"no","choices":[{"index":0,"message":{"role":"assistant","content":"Yes","reasoning_content":"Hm",
      "reasoning":"Hm"},"logprobs":null,"finish_reason":"stop"}],
      "usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}})"));
  const auto message = [&](OutputDelta output) {
    return json::parse(reply.whole({{.output = std::move(output), .end = ReplyEnd::kStop}}, {}))
        .at("choices")
        .at(0)
        .at("message");
  };
  EXPECT_TRUE(message({.reasoning = "only"}).at("content").is_null());
  EXPECT_EQ(message({}).at("content").as_string(), "");
  EXPECT_TRUE(message({}).at("reasoning_content").is_null());
  EXPECT_TRUE(message({.tool_calls = {{"c1", "f", "{}"}}}).at("content").is_null());
}

const std::vector<TokenLogprobs> kLogprobs = {{{5, "\xC3", -0.5}, {{5, "\xC3", -0.5}, {6, "a", -1}}},
                                              {{7, "b", -2}, {}}};

TEST(ChatReplies, Logprobs) {
  ChatReply reply(kHead, false, true);
  const json::value chunk = json::parse(reply.chunk({.output = {.content = "x"}, .logprobs = kLogprobs}));
  const json::value& content = chunk.at("choices").at(0).at("logprobs").at("content");
  EXPECT_EQ(content.at(0).at("token").as_string(), "\xEF\xBF\xBD");
  EXPECT_EQ(content.at(0).at("bytes"), (json::array{0xC3}));
  EXPECT_EQ(content.at(0).at("top_logprobs").at(1).at("logprob").to_number<double>(), -1);
  EXPECT_EQ(content.at(1).at("top_logprobs"), json::array());
}

TEST(CompletionReplies, ChunksAndWhole) {
  CompletionReply reply(kHead, false, true, false);
  EXPECT_EQ(reply.first_chunk(0), "");
  const json::value chunk = json::parse(reply.chunk({.output = {.content = "xb"}, .logprobs = kLogprobs}));
  EXPECT_EQ(chunk.at("object").as_string(), "text_completion");
  EXPECT_EQ(chunk.at("choices").at(0).at("text").as_string(), "xb");
  EXPECT_EQ(chunk.at("choices").at(0).at("logprobs").at("text_offset"), (json::array{0, 1}));
  EXPECT_EQ(chunk.at("choices").at(0).at("logprobs").at("tokens").at(1).as_string(), "b");
  const json::value whole =
      json::parse(reply.whole({{.output = {.content = "xb"}, .end = ReplyEnd::kLength}}, {1, 2, 0}));
  EXPECT_EQ(whole.at("id").as_string(), "cmpl-req-1");
  EXPECT_EQ(whole.at("choices").at(0).at("finish_reason").as_string(), "length");
  EXPECT_EQ(whole.at("usage").at("prompt_tokens_details").at("cached_tokens"), 0);
  EXPECT_FALSE(whole.at("choices").at(0).as_object().contains("prompt_logprobs"));
}

TEST(CompletionReplies, PromptLogprobsHaveVllmsShape) {
  CompletionReply reply(kHead, false, false, true);
  const json::value whole =
      json::parse(reply.whole({{.end = ReplyEnd::kLength, .prompt_logprobs = kLogprobs}}, {3, 1, 0}));
  EXPECT_EQ(whole.at("choices").at(0).at("prompt_logprobs"), json::parse(R"([null,
      {"5":{"logprob":-0.5,"rank":1,"decoded_token":"\ufffd"},"6":{"logprob":-1.0,"rank":2,"decoded_token":"a"}},
      {"7":{"logprob":-2.0,"rank":null,"decoded_token":"b"}}])"));
}

TEST(Replies, EachChoiceHasItsOwnIndexAndCounts) {
  ChatReply chat(kHead, false, false);
  EXPECT_EQ(json::parse(chat.first_chunk(2)).at("choices").at(0).at("index"), 2);
  EXPECT_EQ(json::parse(chat.last_chunk(2, ReplyEnd::kStop)).at("choices").at(0).at("index"), 2);
  const auto call_index = [&](uint32_t choice) {
    const json::value chunk = json::parse(chat.chunk({.output = {.tool_calls = {{"c", "f", "{}"}}}, .choice = choice}));
    EXPECT_EQ(chunk.at("choices").at(0).at("index"), choice);
    return chunk.at("choices").at(0).at("delta").at("tool_calls").at(0).at("index").as_int64();
  };
  EXPECT_EQ(call_index(0), 0);
  EXPECT_EQ(call_index(1), 0);
  EXPECT_EQ(call_index(0), 1);
  const json::value whole =
      json::parse(chat.whole({{.output = {.content = "a"}, .end = ReplyEnd::kStop},
                              {.output = {.content = "b"}, .choice = 1, .end = ReplyEnd::kLength}},
                             {}));
  EXPECT_EQ(whole.at("choices").at(1).at("index"), 1);
  EXPECT_EQ(whole.at("choices").at(1).at("message").at("content"), "b");
  EXPECT_EQ(whole.at("choices").at(1).at("finish_reason"), "length");

  CompletionReply text(kHead, false, true, false);
  const auto offsets = [&](uint32_t choice) {
    return json::parse(text.chunk({.logprobs = kLogprobs, .choice = choice}))
        .at("choices")
        .at(0)
        .at("logprobs")
        .at("text_offset");
  };
  EXPECT_EQ(offsets(0), (json::array{0, 1}));
  EXPECT_EQ(offsets(1), (json::array{0, 1}));
  EXPECT_EQ(offsets(0), (json::array{2, 3}));
}

}  // namespace
}  // namespace bellwether::gateway
