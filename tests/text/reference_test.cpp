// The demo model's own references: prompts and greedy outputs made by Hugging Face's libraries.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>

#include "text/chat_format.h"
#include "text/detokenizer.h"
#include "text/support.h"

namespace bellwether::text {
namespace {

namespace json = boost::json;

constexpr size_t kCases = 11;

const json::array& reference_cases() {
  static const json::value reference = json::parse(read_whole_file(BELLWETHER_TEST_DATA "/nano/reference.json"));
  return reference.at("cases").as_array();
}

Role role_of(std::string_view name) {
  if (name == "system") return Role::kSystem;
  if (name == "user") return Role::kUser;
  if (name == "assistant") return Role::kAssistant;
  EXPECT_EQ(name, "tool");
  return Role::kTool;
}

Conversation conversation_of(const json::value& reference) {
  Conversation conversation;
  for (const json::value& given : reference.at("messages").as_array()) {
    Message message{.role = role_of(given.at("role").as_string()), .content = given.at("content").as_string().c_str()};
    if (const json::value* const calls = given.as_object().if_contains("tool_calls")) {
      for (const json::value& call : calls->as_array()) {
        const json::value& function = call.at("function");
        message.tool_calls.push_back({.id = {},
                                      .name = function.at("name").as_string().c_str(),
                                      .arguments = function.at("arguments").as_string().c_str()});
      }
    }
    conversation.messages.push_back(std::move(message));
  }
  if (const json::value& tools = reference.at("tools"); tools.is_array()) {
    conversation.tools.assign(tools.get_array().begin(), tools.get_array().end());
  }
  return conversation;
}

class Reference : public testing::TestWithParam<size_t> {
 protected:
  const json::value& reference_ = reference_cases().at(GetParam());
  const std::vector<TokenId> greedy_ids_ = json::value_to<std::vector<TokenId>>(reference_.at("greedy_ids"));
};

TEST_P(Reference, PromptIsRenderedFromMessagesAndTools) {
  const auto format = find_chat_format("deepseek-r1");
  ASSERT_NE(format, nullptr);
  const Conversation conversation = conversation_of(reference_);
  const Prompt prompt = format->render(conversation);
  EXPECT_EQ(prompt.text, reference_.at("prompt").as_string());
  EXPECT_EQ(prompt.opens_reasoning, conversation.messages.back().role != Role::kTool);
}

TEST_P(Reference, PromptIsEncoded) {
  EXPECT_EQ(demo_tokenizer().encode(reference_.at("prompt").as_string()),
            json::value_to<std::vector<TokenId>>(reference_.at("prompt_ids")));
}

TEST_P(Reference, PromptIsDecodedFromItsIds) {
  const auto ids = json::value_to<std::vector<TokenId>>(reference_.at("prompt_ids"));
  EXPECT_EQ(demo_tokenizer().decode(ids, false), reference_.at("prompt").as_string());
}

TEST_P(Reference, GreedyIdsAreDecoded) {
  EXPECT_EQ(demo_tokenizer().decode(greedy_ids_, false), reference_.at("greedy_text").as_string());
}

TEST_P(Reference, GreedyIdsAreDetokenizedOneByOne) {
  Detokenizer detokenizer(demo_tokenizer());
  std::string text;
  for (const TokenId id : greedy_ids_) {
    const std::string piece = detokenizer.push(id);
    EXPECT_TRUE(is_valid_utf8(piece));
    text += piece;
  }
  EXPECT_EQ(detokenizer.finish(), "");
  EXPECT_EQ(text, demo_tokenizer().decode(greedy_ids_, true));
}

INSTANTIATE_TEST_SUITE_P(, Reference, testing::Range(size_t{0}, kCases));

TEST(ReferenceFile, HasElevenCasesAndOneWithCharactersOverSeveralTokens) {
  EXPECT_EQ(reference_cases().size(), kCases);
  size_t incomplete_tokens = 0;
  for (const json::value& reference : reference_cases()) {
    for (const TokenId id : json::value_to<std::vector<TokenId>>(reference.at("greedy_ids"))) {
      if (!is_valid_utf8(demo_tokenizer().bytes(id))) ++incomplete_tokens;
    }
  }
  EXPECT_GT(incomplete_tokens, 0U);
}

}  // namespace
}  // namespace bellwether::text
