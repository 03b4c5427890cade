#include "worker/token_event.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bellwether::worker {
namespace {

using ::testing::ElementsAre;

LiveRequest live_request() {
  return {.request_id = "r", .attempt = 2, .gateway_id = "g", .prompt_tokens = 23};
}

LiveChoice live_choice() {
  return {.index = 3, .output_tokens_given = 4, .output_tokens = 7, .cached_prompt_tokens = 5};
}

TEST(TokenEvent, CarriesIdsAndLogprobsInTheirOrder) {
  engine::SequenceOutput output;
  output.first_index = 5;
  output.ids = {8, 9};
  output.logprobs = {{8, -0.5F}, {9, -1.5F}};
  output.top_logprobs = {{8, -0.5F}, {3, -2}, {9, -1.5F}, {4, -3}};
  const v1::TokenEvent event = token_event(live_request(), live_choice(), output);
  EXPECT_EQ(event.request_id(), "r");
  EXPECT_EQ(event.attempt(), 2u);
  EXPECT_EQ(event.choice(), 3u);
  EXPECT_EQ(event.first_index(), 5u);
  EXPECT_THAT(event.ids(), ElementsAre(8, 9));
  ASSERT_EQ(event.logprobs_size(), 2);
  EXPECT_EQ(event.logprobs(1).id(), 9u);
  EXPECT_EQ(event.logprobs(1).logprob(), -1.5F);
  ASSERT_EQ(event.top_logprobs_size(), 4);
  EXPECT_EQ(event.top_logprobs(3).id(), 4u);
  EXPECT_EQ(event.finish_reason(), v1::FINISH_REASON_UNSPECIFIED);
  EXPECT_FALSE(event.has_usage());
}

TEST(TokenEvent, CarriesTheUsageWithTheFinish) {
  engine::SequenceOutput output;
  output.ids = {1};
  output.finish = engine::Finish::kStop;
  const v1::TokenEvent event = token_event(live_request(), live_choice(), output);
  EXPECT_EQ(event.finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(event.usage().prompt_tokens(), 23u);
  EXPECT_EQ(event.usage().completion_tokens(), 7u);  // earlier attempts' tokens among them
  EXPECT_EQ(event.usage().cached_prompt_tokens(), 5u);
  output.finish = engine::Finish::kLength;
  EXPECT_EQ(token_event(live_request(), live_choice(), output).finish_reason(), v1::FINISH_REASON_LENGTH);
}

TEST(TokenEvent, AnErrorEndsTheRequestAfterItsLastToken) {
  const v1::TokenEvent event = error_event(live_request(), live_choice(), "it broke");
  EXPECT_EQ(event.finish_reason(), v1::FINISH_REASON_ERROR);
  EXPECT_EQ(event.error(), "it broke");
  EXPECT_EQ(event.choice(), 3u);
  EXPECT_EQ(event.first_index(), 7u);
  EXPECT_EQ(event.ids_size(), 0);
  EXPECT_EQ(event.usage().completion_tokens(), 7u);
}

TEST(TokenEvent, NumbersThePromptsLogprobsByTheirTokens) {
  LiveChoice choice = live_choice();
  engine::SequenceOutput output;
  output.prompt_logprobs = {{8, -0.5F}, {9, -1.5F}};
  output.prompt_top_logprobs = {{8, -0.5F}, {3, -2}, {9, -1.5F}, {4, -3}};
  choice.prompt_logprobs_given = 2;
  EXPECT_EQ(token_event(live_request(), choice, output).prompt_first_index(), 1u) << "the first token has none";
  choice.prompt_logprobs_given = 9;
  const v1::TokenEvent event = token_event(live_request(), choice, output);
  EXPECT_EQ(event.prompt_first_index(), 8u);
  ASSERT_EQ(event.prompt_logprobs_size(), 2);
  EXPECT_EQ(event.prompt_logprobs(1).id(), 9u);
  ASSERT_EQ(event.prompt_top_logprobs_size(), 4);
  EXPECT_EQ(event.prompt_top_logprobs(3).id(), 4u);
}

}  // namespace
}  // namespace bellwether::worker
