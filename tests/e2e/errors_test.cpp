// Requests that cannot be served, answered in OpenAI's shape with the right status.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

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
using ::testing::HasSubstr;

std::string chat_url() {
  return shared_mesh().url() + "/v1/chat/completions";
}

std::string with(const char* field, const json::value& value) {
  json::object body = json::parse(reference_cases()[0].request(false)).as_object();
  body[field] = value;
  return json::serialize(body);
}

// The error object of a reply that must have `status`.
json::object expect_error(const Reply& reply, long status) {
  EXPECT_EQ(reply.status, status) << reply.body;
  const json::object error = reply.json().at("error").as_object();
  EXPECT_TRUE(error.at("message").is_string());
  EXPECT_TRUE(error.at("type").is_string());
  EXPECT_TRUE(error.contains("param"));
  EXPECT_EQ(error.at("code"), status);
  return error;
}

TEST(Errors, AMalformedBodyIs400) {
  for (const char* body : {"", "{", "[]", "{\"model\": \"bellwether-nano\",}", "{\"messages\": \"\xFF\"}"}) {
    SCOPED_TRACE(body);
    expect_error(http_post(chat_url(), body), 400);
  }
}

TEST(Errors, AnUnknownModelIs404) {
  const json::object error = expect_error(http_post(chat_url(), with("model", "no-such-model")), 404);
  EXPECT_THAT(json::value_to<std::string>(error.at("message")), HasSubstr("no-such-model"));
}

TEST(Errors, AnUnknownRoutingStrategyIs400AndListsThoseThereAre) {
  const std::string body = reference_cases()[0].request(false);
  const json::object error = expect_error(http_post(chat_url(), body, {"routing-strategy: fastest"}), 400);
  const auto message = json::value_to<std::string>(error.at("message"));
  EXPECT_THAT(message, HasSubstr("'fastest' is unknown"));
  EXPECT_THAT(message, HasSubstr("prefix-cache, least-request"));
  EXPECT_EQ(http_post(chat_url(), body, {"routing-strategy: vtc-basic"}).status, 200) << "AIBrix's name for fair";
}

TEST(Errors, ABadFieldIs400AndNamed) {
  const std::pair<const char*, json::value> bad[] = {
      {"temperature", -1}, {"temperature", "hot"},      {"top_p", 1.5}, {"max_tokens", 0},
      {"stream", "yes"},   {"messages", json::array{}}, {"n", 129},
  };
  for (const auto& [field, value] : bad) {
    SCOPED_TRACE(field);
    EXPECT_EQ(expect_error(http_post(chat_url(), with(field, value)), 400).at("param"), field);
  }
}

TEST(Errors, AFieldInsideAMessageIsNamedWithItsPath) {
  const json::array messages = {json::object{{"role", "wizard"}, {"content", "hi"}}};
  EXPECT_EQ(expect_error(http_post(chat_url(), with("messages", messages)), 400).at("param"), "messages[0].role");
}

TEST(Errors, APromptThatCannotFitIs400) {
  std::string words;
  for (int i = 0; i < 9000; ++i) words += "sheep ";
  const json::array messages = {json::object{{"role", "user"}, {"content", words}}};
  expect_error(http_post(chat_url(), with("messages", messages)), 400);
}

TEST(Errors, AnUnknownPathIs404AndAWrongMethod405) {
  expect_error(http_get(shared_mesh().url() + "/v1/nothing"), 404);
  const Reply reply = http_get(chat_url());
  expect_error(reply, 405);
  EXPECT_TRUE(reply.headers.contains("allow"));
}

TEST(Errors, LeaveTheMeshServing) {
  EXPECT_EQ(http_post(chat_url(), reference_cases()[0].request(false)).status, 200);
}

}  // namespace
}  // namespace bellwether::e2e
