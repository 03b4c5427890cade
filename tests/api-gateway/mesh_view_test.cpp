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
  EXPECT_EQ(request.sampling().seed(), 99U);
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
                                            .top_logprobs = 2},
                                           {5});
  EXPECT_EQ(request.sampling().temperature(), 0);
  EXPECT_EQ(request.sampling().top_p(), 0.5F);
  EXPECT_EQ(request.sampling().top_k(), 7U);
  EXPECT_EQ(request.sampling().seed(), 3U);
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
  const json::value first = json::parse(reply.first_chunk());
  EXPECT_EQ(first, json::parse(R"({"id":"chatcmpl-req-1","object":"chat.completion.chunk","created":1700000000,
      "model":"na\"no","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,
      "finish_reason":null}],"usage":null})"));
  const json::value reasoning = json::parse(reply.chunk({{.reasoning = "Hm"}, {}}));
  EXPECT_EQ(reasoning.at("choices").at(0).at("delta"), json::parse(R"({"reasoning_content":"Hm","reasoning":"Hm"})"));
  const json::value content = json::parse(reply.chunk({{.content = "Yes\n"}, {}}));
  EXPECT_EQ(content.at("choices").at(0).at("delta"), json::parse(R"({"content":"Yes\n"})"));
  EXPECT_EQ(json::parse(reply.last_chunk(ReplyEnd::kLength)).at("choices"),
            json::parse(R"([{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}])"));
  const json::value usage = json::parse(reply.usage_chunk({3, 4, 2}));
  EXPECT_EQ(usage.at("choices"), json::array());
  EXPECT_EQ(usage.at("usage"), json::parse(R"({"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,
      "prompt_tokens_details":{"cached_tokens":2}})"));
}

TEST(ChatReplies, WithoutUsageChunksDoNotSpeakOfIt) {
  ChatReply reply(kHead, false, false);
  EXPECT_FALSE(json::parse(reply.first_chunk()).as_object().contains("usage"));
}

TEST(ChatReplies, ToolCallsAreNumberedThroughTheStream) {
  ChatReply reply(kHead, false, false);
  const json::value one = json::parse(reply.chunk({{.tool_calls = {{"c1", "f", "{}"}}}, {}}));
  const json::value two = json::parse(reply.chunk({{.tool_calls = {{"c2", "g", "{}"}}}, {}}));
  EXPECT_EQ(one.at("choices").at(0).at("delta"), json::parse(R"({"tool_calls":[{"index":0,"id":"c1",
      "type":"function","function":{"name":"f","arguments":"{}"}}]})"));
  EXPECT_EQ(two.at("choices").at(0).at("delta").at("tool_calls").at(0).at("index"), 1);
}

TEST(ChatReplies, Whole) {
  ChatReply reply(kHead, false, false);
  const json::value whole =
      json::parse(reply.whole({{.reasoning = "Hm", .content = "Yes"}, {}}, ReplyEnd::kStop, {3, 4, {}}));
  EXPECT_EQ(whole, json::parse(R"({"id":"chatcmpl-req-1","object":"chat.completion","created":1700000000,
      "model":"na\"no","choices":[{"index":0,"message":{"role":"assistant","content":"Yes","reasoning_content":"Hm",
      "reasoning":"Hm"},"logprobs":null,"finish_reason":"stop"}],
      "usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}})"));
  const auto message = [&](OutputDelta output) {
    return json::parse(reply.whole({std::move(output), {}}, ReplyEnd::kStop, {})).at("choices").at(0).at("message");
  };
  EXPECT_TRUE(message({.reasoning = "only"}).at("content").is_null());
  EXPECT_EQ(message({}).at("content").as_string(), "");
  EXPECT_TRUE(message({}).at("reasoning_content").is_null());
  EXPECT_TRUE(message({.tool_calls = {{"c1", "f", "{}"}}}).at("content").is_null());
}

const std::vector<TokenLogprobs> kLogprobs = {{{"\xC3", -0.5}, {{"\xC3", -0.5}, {"a", -1}}}, {{"b", -2}, {}}};

TEST(ChatReplies, Logprobs) {
  ChatReply reply(kHead, false, true);
  const json::value chunk = json::parse(reply.chunk({{.content = "x"}, kLogprobs}));
  const json::value& content = chunk.at("choices").at(0).at("logprobs").at("content");
  EXPECT_EQ(content.at(0).at("token").as_string(), "\xEF\xBF\xBD");
  EXPECT_EQ(content.at(0).at("bytes"), (json::array{0xC3}));
  EXPECT_EQ(content.at(0).at("top_logprobs").at(1).at("logprob").to_number<double>(), -1);
  EXPECT_EQ(content.at(1).at("top_logprobs"), json::array());
}

TEST(CompletionReplies, ChunksAndWhole) {
  CompletionReply reply(kHead, false, true);
  EXPECT_EQ(reply.first_chunk(), "");
  const json::value chunk = json::parse(reply.chunk({{.content = "xb"}, kLogprobs}));
  EXPECT_EQ(chunk.at("object").as_string(), "text_completion");
  EXPECT_EQ(chunk.at("choices").at(0).at("text").as_string(), "xb");
  EXPECT_EQ(chunk.at("choices").at(0).at("logprobs").at("text_offset"), (json::array{0, 1}));
  EXPECT_EQ(chunk.at("choices").at(0).at("logprobs").at("tokens").at(1).as_string(), "b");
  const json::value whole = json::parse(reply.whole({{.content = "xb"}, {}}, ReplyEnd::kLength, {1, 2, 0}));
  EXPECT_EQ(whole.at("id").as_string(), "cmpl-req-1");
  EXPECT_EQ(whole.at("choices").at(0).at("finish_reason").as_string(), "length");
  EXPECT_EQ(whole.at("usage").at("prompt_tokens_details").at("cached_tokens"), 0);
}

}  // namespace
}  // namespace bellwether::gateway
