// What the engine can do, asked for by clients: several choices, log-probabilities, penalties, the prefix cache.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>

#include "e2e/http_client.h"
#include "e2e/reference.h"
#include "e2e/shared_mesh.h"

namespace bellwether::e2e {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;

json::value complete(const json::object& body) {
  const Reply reply = http_post(shared_mesh().url() + "/v1/completions", json::serialize(body));
  EXPECT_EQ(reply.status, 200) << reply.body;
  return reply.json();
}

json::object completion(int max_tokens) {
  return {{"model", kModel}, {"prompt", "Once upon a time"}, {"max_tokens", max_tokens}, {"temperature", 0}};
}

std::string text_of(const json::value& reply, size_t choice = 0) {
  return json::value_to<std::string>(reply.at("choices").at(choice).at("text"));
}

TEST(Sampling, ThreeChoicesAreThreeRequestsWithTheSeedsThatFollow) {
  json::object body = completion(40);
  body["temperature"] = 1.5;
  body["seed"] = 11;
  body["n"] = 3;
  const json::value all = complete(body);
  ASSERT_EQ(all.at("choices").as_array().size(), 3U);
  body.erase("n");
  int64_t tokens = 0;
  for (int i = 0; i < 3; ++i) {
    body["seed"] = 11 + i;
    const json::value alone = complete(body);
    EXPECT_EQ(all.at("choices").at(static_cast<size_t>(i)).at("index"), i);
    EXPECT_EQ(text_of(all, static_cast<size_t>(i)), text_of(alone));
    tokens += alone.at("usage").at("completion_tokens").as_int64();
  }
  EXPECT_NE(text_of(all, 0), text_of(all, 1));
  EXPECT_EQ(all.at("usage").at("completion_tokens"), tokens);
}

TEST(Sampling, ChoicesOfAStreamAreTheSame) {
  json::object body = completion(30);
  body["temperature"] = 1.5;
  body["seed"] = 11;
  body["n"] = 2;
  const json::value whole = complete(body);
  body["stream"] = true;
  const StreamedReply reply = http_stream(shared_mesh().url() + "/v1/completions", json::serialize(body));
  EXPECT_EQ(reply.finish_reasons.size(), 2U);
  EXPECT_EQ(reply.content.size(), text_of(whole, 0).size() + text_of(whole, 1).size());
  EXPECT_TRUE(reply.done);
}

TEST(Sampling, LogprobsOfTokensAndOfThePrompt) {
  json::object body = completion(5);
  body["logprobs"] = 2;
  body["prompt_logprobs"] = 1;
  const json::value choice = complete(body).at("choices").at(0);
  const json::value& logprobs = choice.at("logprobs");
  ASSERT_EQ(logprobs.at("tokens").as_array().size(), 5U);
  for (size_t i = 0; i < 5; ++i) {
    const json::object& top = logprobs.at("top_logprobs").at(i).as_object();
    EXPECT_EQ(top.size(), 2U);
    const double chosen = logprobs.at("token_logprobs").at(i).to_number<double>();
    for (const auto& other : top) EXPECT_LE(other.value().to_number<double>(), chosen) << "greedy takes the best";
  }
  const json::value& prompt = choice.at("prompt_logprobs");
  ASSERT_GT(prompt.as_array().size(), 2U);
  EXPECT_TRUE(prompt.at(0).is_null());
  for (size_t i = 1; i < prompt.as_array().size(); ++i) {
    ASSERT_GE(prompt.at(i).as_object().size(), 1U);
    for (const auto& token : prompt.at(i).as_object()) {
      EXPECT_LE(token.value().at("logprob").to_number<double>(), 0);
    }
  }
}

// Its log-probability as part of the prompt is the one that it was generated with, to the accuracy of two ways to
// compute attention.
TEST(Sampling, APromptsLogprobsAreThoseOfTheSameTextGenerated) {
  json::object body = completion(8);
  body["logprobs"] = 0;
  const json::value generated = complete(body);
  json::object again = completion(1);
  again["prompt"] = "Once upon a time" + text_of(generated);
  again["prompt_logprobs"] = 0;
  const json::value prompt = complete(again).at("choices").at(0).at("prompt_logprobs");
  const json::value& tokens = generated.at("choices").at(0).at("logprobs").at("token_logprobs");
  ASSERT_GE(prompt.as_array().size(), tokens.as_array().size());
  const size_t offset = prompt.as_array().size() - tokens.as_array().size();
  for (size_t i = 0; i < tokens.as_array().size(); ++i) {
    const double read = prompt.at(offset + i).as_object().begin()->value().at("logprob").to_number<double>();
    EXPECT_NEAR(read, tokens.at(i).to_number<double>(), 1e-3) << i;
  }
}

TEST(Sampling, PenaltiesBiasesAndMinTokensReachTheEngine) {
  const std::string plain = text_of(complete(completion(60)));
  json::object body = completion(60);
  body["frequency_penalty"] = 2;
  EXPECT_NE(text_of(complete(body)), plain);
  body = completion(60);
  body["repetition_penalty"] = 1.8;
  EXPECT_NE(text_of(complete(body)), plain);

  json::object biased = completion(4);
  biased["logit_bias"] = json::object{{"100", 100}};
  biased["logprobs"] = 0;
  const json::value tokens = complete(biased).at("choices").at(0).at("logprobs").at("tokens");
  for (const json::value& token : tokens.as_array()) EXPECT_EQ(token, tokens.at(0));

  const ReferenceCase& reference = reference_cases()[0];
  json::object longer{{"model", kModel}, {"messages", reference.messages}, {"temperature", 0}};
  longer["min_tokens"] = reference.completion_tokens + 10;
  const Reply reply = http_post(shared_mesh().url() + "/v1/chat/completions", json::serialize(longer));
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_GE(reply.json().at("usage").at("completion_tokens").to_number<size_t>(), reference.completion_tokens + 10);
}

TEST(Sampling, ASecondRequestFindsThePromptOfTheFirstUnlessItsSaltDiffers) {
  json::object body{{"model", kModel}, {"messages", longest_prompt().messages}, {"max_tokens", 1}};
  body["cache_salt"] = "tenant-1";
  const auto cached = [&] {
    const Reply reply = http_post(shared_mesh().url() + "/v1/chat/completions", json::serialize(body));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return reply.json().at("usage").at("prompt_tokens_details").at("cached_tokens").to_number<size_t>();
  };
  EXPECT_EQ(cached(), 0U);
  EXPECT_GE(cached(), (longest_prompt().prompt_tokens - 1) / 64 * 64);
  body["cache_salt"] = "tenant-2";
  EXPECT_EQ(cached(), 0U);
}

TEST(Sampling, WrongParametersAreRefusedByName) {
  json::object body = completion(5);
  body["logit_bias"] = json::object{{"2048", 1}};
  const Reply reply = http_post(shared_mesh().url() + "/v1/completions", json::serialize(body));
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(reply.json().at("error").at("param"), "logit_bias");
}

}  // namespace
}  // namespace bellwether::e2e
