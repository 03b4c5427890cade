#include "text/chat_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include <boost/json/parse.hpp>

#include "text/support.h"
#include "text/tool_calls.h"

namespace bellwether::text {
namespace {

const ChatFormat& format() {
  return *find_chat_format("deepseek-r1");
}

Message system(std::string content) {
  return {.role = Role::kSystem, .content = std::move(content)};
}
Message user(std::string content) {
  return {.role = Role::kUser, .content = std::move(content)};
}
Message assistant(std::string content, std::vector<ToolCall> calls = {}) {
  return {.role = Role::kAssistant, .content = std::move(content), .tool_calls = std::move(calls)};
}
Message tool(std::string content) {
  return {.role = Role::kTool, .content = std::move(content)};
}

TEST(ChatFormats, AreFoundByName) {
  EXPECT_THAT(chat_format_names(), testing::ElementsAre("deepseek-r1"));
  EXPECT_EQ(format().name(), "deepseek-r1");
  EXPECT_EQ(find_chat_format("deepseek-r2"), nullptr);
  EXPECT_EQ(find_chat_format(""), nullptr);
}

TEST(DeepSeekR1Format, SystemTextsAreJoinedWhereverTheyStand) {
  EXPECT_EQ(format().render({.messages = {system("a"), user("hi"), system("b")}}),
            "<｜begin▁of▁sentence｜>a\n\nb<｜User｜>hi<｜Assistant｜><think>\n");
}

TEST(DeepSeekR1Format, ToolsFollowTheSystemText) {
  const auto add = boost::json::parse(R"({"type":"function","function":{"name":"add"}})");
  EXPECT_EQ(format().render({.messages = {system("a"), user("hi")}, .tools = {add, add}}),
            "<｜begin▁of▁sentence｜>a\n\n## Tools\n"
            "{\"type\": \"function\", \"function\": {\"name\": \"add\"}}\n"
            "{\"type\": \"function\", \"function\": {\"name\": \"add\"}}\n"
            "<｜User｜>hi<｜Assistant｜><think>\n");
}

TEST(DeepSeekR1Format, EarlierReasoningIsRemoved) {
  const std::string expected =
      "<｜begin▁of▁sentence｜><｜User｜>hi<｜Assistant｜>hello<｜end▁of▁sentence｜><｜User｜>again<｜Assistant｜><"
      "think>\n";
  for (const char* const content : {"hello", "<think>\nI greet.\n</think>hello", "a</think>b</think>hello"}) {
    EXPECT_EQ(format().render({.messages = {user("hi"), assistant(content), user("again")}}), expected);
  }
}

TEST(DeepSeekR1Format, CallsAndOutputsOfTools) {
  const Conversation conversation{.messages = {user("add"),
                                               assistant("I add.", {{"1", "add", "{}"}, {"2", "list", "[]"}}),
                                               tool("3"), tool("4"), assistant("Done."), user("thanks")}};
  EXPECT_EQ(format().render(conversation),
            "<｜begin▁of▁sentence｜><｜User｜>add<｜Assistant｜>I add.<｜tool▁calls▁begin｜>"
            "<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{}\n```<｜tool▁call▁end｜>\n"
            "<｜tool▁call▁begin｜>function<｜tool▁sep｜>list\n```json\n[]\n```<｜tool▁call▁end｜>"
            "<｜tool▁calls▁end｜><｜end▁of▁sentence｜>"
            "<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>3<｜tool▁output▁end｜>\n"
            "<｜tool▁output▁begin｜>4<｜tool▁output▁end｜><｜tool▁outputs▁end｜>Done.<｜end▁of▁sentence｜>"
            "<｜User｜>thanks<｜Assistant｜><think>\n");
}

TEST(DeepSeekR1Format, ReasoningIsOpenedWhereTheGenerationPromptStands) {
  Conversation conversation{.messages = {user("hi")}};
  EXPECT_TRUE(format().prompt_opens_reasoning(conversation));
  conversation.add_generation_prompt = false;
  EXPECT_FALSE(format().prompt_opens_reasoning(conversation));
  EXPECT_EQ(format().render(conversation), "<｜begin▁of▁sentence｜><｜User｜>hi");
  conversation = {.messages = {user("hi"), assistant("", {{"1", "add", "{}"}}), tool("3")}};
  EXPECT_FALSE(format().prompt_opens_reasoning(conversation));
  EXPECT_TRUE(format().render(conversation).ends_with("<｜tool▁outputs▁end｜>"));
}

TEST(DeepSeekR1Format, AConversationOfNothing) {
  EXPECT_EQ(format().render({.messages = {}}), "<｜begin▁of▁sentence｜><｜Assistant｜><think>\n");
}

TEST(DeepSeekR1Format, RenderedCallsAreReadBack) {
  const Conversation conversation{.messages = {assistant("I add.", {{"", "add", "{\"a\": 1}"}, {"", "list", "{}"}})}};
  std::string prompt = format().render(conversation);
  prompt.erase(0, prompt.find("I add."));
  ToolCallSplitter splitter;
  const AnswerPiece piece = splitter.push(prompt.substr(0, prompt.find("<｜end▁of▁sentence｜>")));
  EXPECT_EQ(piece.content, "I add.");
  ASSERT_EQ(piece.tool_calls.size(), 2U);
  EXPECT_EQ(piece.tool_calls[0].arguments, "{\"a\": 1}");
  EXPECT_EQ(piece.tool_calls[1].name, "list");
}

}  // namespace
}  // namespace bellwether::text
