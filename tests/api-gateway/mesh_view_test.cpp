// What the gateway knows of the mesh, what it asks of it, and what it answers: pure parts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "api-gateway/failure.h"
#include "api-gateway/generate_request.h"
#include "api-gateway/model_directory.h"
#include "api-gateway/request_headers.h"
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
      failure_of_call([] { (void)encode_prompt(*model_, std::string(1'000'000, 'x'), kLimits, {}, "messages"); });
  EXPECT_THAT(long_text.message, HasSubstr("at least"));
  const Failure limit = failure_of_call([] {
    (void)encode_prompt(*model_, "one two three", {.context_tokens_max = 100, .prompt_tokens_max = 2}, {}, "messages");
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
  const auto ids = encode_prompt(*model_, "Hello", kLimits, {.adds_bos = true}, "prompt");
  EXPECT_EQ(ids.at(0), 0);
  EXPECT_EQ(encode_prompt(*model_, "<｜begin▁of▁sentence｜>Hello", kLimits, {.adds_bos = true}, "prompt"), ids);
  EXPECT_EQ(encode_prompt(*model_, "Hello", kLimits, {}, "prompt"), std::vector(ids.begin() + 1, ids.end()));
}

TEST_F(GenerateRequestTest, LongPromptsAreCutWhereTheClientWantsIt) {
  const auto cut = [](PromptEncoding encoding) {
    std::vector<text::TokenId> ids = {1, 2, 3, 4, 5};
    truncate(ids, {.context_tokens_max = 6, .prompt_tokens_max = 100}, encoding);
    return ids;
  };
  EXPECT_THAT(cut({}), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(cut({.truncation = Truncation{.tokens = 9}}), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(cut({.truncation = Truncation{.tokens = 2}}), ElementsAre(4, 5));
  EXPECT_THAT(cut({.truncation = Truncation{.tokens = 2, .keeps_end = false}}), ElementsAre(1, 2));
  EXPECT_THAT(cut({.truncation = Truncation{}, .output_tokens = 4}), ElementsAre(4, 5)) << "room for the output";
  std::vector<text::TokenId> ids = {0, 2, 3, 4, 5};
  truncate(ids, kLimits, {.truncation = Truncation{.tokens = 3}}, 1);
  EXPECT_THAT(ids, ElementsAre(0, 4, 5)) << "begin-of-sentence stays";
  const std::string text(1'000'000, 'x');
  const auto encoded = encode_prompt(*model_, text, kLimits, {.truncation = Truncation{.tokens = 5}}, "prompt");
  EXPECT_EQ(encoded.size(), 5U) << "what is cut may be longer than the context";
}

TEST_F(GenerateRequestTest, ZeroTokensAreAskedForAsOne) {
  EXPECT_EQ(make({.max_tokens = 0}, {5}).max_tokens(), 1U);
}

mesh::HttpRequest with_headers(mesh::HttpHeaders headers) {
  mesh::HttpRequest request;
  request.headers = std::move(headers);
  return request;
}

TEST(RequestHeaders, ArePassedOn) {
  const std::string trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  v1::GenerateRequest request;
  apply_headers(with_headers({{"Traceparent", trace},
                              {"routing-strategy", "least-request"},
                              {"X-Session-Id", "s-1"},
                              {"x-priority", "-7"},
                              {"x-queue-timeout-ms", "60000"}}),
                false, request);
  EXPECT_EQ(request.traceparent(), trace);
  EXPECT_EQ(request.routing_strategy(), "least-request");
  EXPECT_EQ(request.session_id(), "s-1");
  EXPECT_EQ(request.priority(), -7);
  EXPECT_GT(request.deadline_unix_ms(), mesh::unix_ms_now() + 50'000);
  EXPECT_LE(request.deadline_unix_ms(), mesh::unix_ms_now() + 60'000);
}

TEST(RequestHeaders, TheBodyCountsMore) {
  v1::GenerateRequest request;
  request.set_priority(3);
  request.set_session_id("mine");
  apply_headers(with_headers({{"session-id", "s-1"}, {"x-priority", "1"}}), true, request);
  EXPECT_EQ(request.session_id(), "mine");
  EXPECT_EQ(request.priority(), 3);
}

TEST(RequestHeaders, WhatCannotBeUsedIsRefusedByName) {
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"x-priority", "high"},
                                                        {"x-priority", "99999999999"},
                                                        {"x-queue-timeout-ms", "0"},
                                                        {"x-queue-timeout-ms", "5s"},
                                                        {"routing-strategy", "a b"},
                                                        {"x-session-id", std::string(257, 'x')},
                                                        {"session-id", "\xC3\xA9"}}) {
    v1::GenerateRequest request;
    try {
      apply_headers(with_headers({{name, value}}), false, request);
      FAIL() << name;
    } catch (const mesh::Error& error) {
      EXPECT_EQ(error.field(), name);
    }
  }
}

TEST(RequestHeaders, WhatIsNoTraceContextIsLeftOut) {
  v1::GenerateRequest request;
  apply_headers(with_headers({{"traceparent", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"}}), false, request);
  EXPECT_EQ(request.traceparent(), "");
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

}  // namespace
}  // namespace bellwether::gateway
