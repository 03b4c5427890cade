#include "worker/token_event.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bellwether::worker {
namespace {

using ::testing::ElementsAre;

LiveRequest live_request() {
  return {.request_id = "r",
          .attempt = 2,
          .gateway_id = "g",
          .prompt_tokens = 23,
          .output_tokens_given = 4,
          .output_tokens = 7};
}

TEST(TokenEvent, CarriesIdsAndLogprobsInTheirOrder) {
  const engine::SequenceOutput output{.id = 1,
                                      .first_index = 5,
                                      .ids = {8, 9},
                                      .logprobs = {{8, -0.5F}, {9, -1.5F}},
                                      .top_logprobs = {{8, -0.5F}, {3, -2}, {9, -1.5F}, {4, -3}}};
  const v1::TokenEvent event = token_event(live_request(), output);
  EXPECT_EQ(event.request_id(), "r");
  EXPECT_EQ(event.attempt(), 2u);
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
  const v1::TokenEvent event = token_event(live_request(), output);
  EXPECT_EQ(event.finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(event.usage().prompt_tokens(), 23u);
  EXPECT_EQ(event.usage().completion_tokens(), 7u);  // earlier attempts' tokens among them
  output.finish = engine::Finish::kLength;
  EXPECT_EQ(token_event(live_request(), output).finish_reason(), v1::FINISH_REASON_LENGTH);
}

TEST(TokenEvent, AnErrorEndsTheRequestAfterItsLastToken) {
  const v1::TokenEvent event = error_event(live_request(), "it broke");
  EXPECT_EQ(event.finish_reason(), v1::FINISH_REASON_ERROR);
  EXPECT_EQ(event.error(), "it broke");
  EXPECT_EQ(event.first_index(), 7u);
  EXPECT_EQ(event.ids_size(), 0);
  EXPECT_EQ(event.usage().completion_tokens(), 7u);
}

}  // namespace
}  // namespace bellwether::worker
