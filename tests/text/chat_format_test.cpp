#include "text/chat_format.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include <boost/json/parse.hpp>

#include "text/support.h"
#include "text/tool_calls.h"

namespace bellwether::text {
namespace {

std::string render(const Conversation& conversation, std::string_view format = "deepseek-r1") {
  return find_chat_format(format)->render(conversation).text;
}
bool opens_reasoning(const Conversation& conversation, std::string_view format = "deepseek-r1") {
  return find_chat_format(format)->render(conversation).opens_reasoning;
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
  EXPECT_THAT(chat_format_names(),
              testing::ElementsAre("deepseek-r1", "deepseek-r1-0528", "deepseek-v3-0324", "deepseek-v3.1"));
  for (const std::string& name : chat_format_names()) EXPECT_EQ(find_chat_format(name)->name(), name);
  EXPECT_EQ(find_chat_format("deepseek-r2"), nullptr);
  EXPECT_EQ(find_chat_format(""), nullptr);
}

TEST(DeepSeekR1Format, SystemTextsAreJoinedWhereverTheyStand) {
  EXPECT_EQ(render({.messages = {system("a"), user("hi"), system("b")}}),
            "<｜begin▁of▁sentence｜>a\n\nb<｜User｜>hi<｜Assistant｜><think>\n");
}

TEST(DeepSeekR1Format, ToolsFollowTheSystemText) {
  const auto add = boost::json::parse(R"({"type":"function","function":{"name":"add"}})");
  EXPECT_EQ(render({.messages = {system("a"), user("hi")}, .tools = {add, add}}),
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
    EXPECT_EQ(render({.messages = {user("hi"), assistant(content), user("again")}}), expected);
  }
}

TEST(DeepSeekR1Format, CallsAndOutputsOfTools) {
  const Conversation conversation{.messages = {user("add"),
                                               assistant("I add.", {{"1", "add", "{}"}, {"2", "list", "[]"}}),
                                               tool("3"), tool("4"), assistant("Done."), user("thanks")}};
  EXPECT_EQ(render(conversation),
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
  EXPECT_TRUE(opens_reasoning(conversation));
  conversation.add_generation_prompt = false;
  EXPECT_FALSE(opens_reasoning(conversation));
  EXPECT_EQ(render(conversation), "<｜begin▁of▁sentence｜><｜User｜>hi");
  conversation = {.messages = {user("hi"), assistant("", {{"1", "add", "{}"}}), tool("3")}};
  EXPECT_FALSE(opens_reasoning(conversation));
  EXPECT_TRUE(render(conversation).ends_with("<｜tool▁outputs▁end｜>"));
}

TEST(DeepSeekR1Format, AConversationOfNothing) {
  EXPECT_EQ(render({.messages = {}}), "<｜begin▁of▁sentence｜><｜Assistant｜><think>\n");
}

TEST(DeepSeekR1Format, RenderedCallsAreReadBack) {
  const Conversation conversation{.messages = {assistant("I add.", {{"", "add", "{\"a\": 1}"}, {"", "list", "{}"}})}};
  std::string prompt = render(conversation);
  prompt.erase(0, prompt.find("I add."));
  ToolCallSplitter splitter;
  const AnswerPiece piece = splitter.push(prompt.substr(0, prompt.find("<｜end▁of▁sentence｜>")));
  EXPECT_EQ(piece.content, "I add.");
  ASSERT_EQ(piece.tool_calls.size(), 2U);
  EXPECT_EQ(piece.tool_calls[0].arguments, "{\"a\": 1}");
  EXPECT_EQ(piece.tool_calls[1].name, "list");
}

// A conversation with everything in its past, before its last question.
Conversation long_conversation() {
  return {.messages = {system("a"), user("add"),
                       assistant("<think>x</think>I add.", {{"1", "add", "{}"}, {"2", "list", "{\"b\": 1}"}}),
                       tool("3"), tool("4"), assistant("Done."), system("b"), user("thanks")}};
}

constexpr const char* kLongInV3 =
    "<｜begin▁of▁sentence｜>a\n\nb<｜User｜>add<｜Assistant｜>{}I add.<｜tool▁calls▁begin｜>"
    "<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{{}}\n```<｜tool▁call▁end｜>\n"
    "<｜tool▁call▁begin｜>function<｜tool▁sep｜>list\n```json\n{{\"b\": 1}}\n```<｜tool▁call▁end｜>"
    "<｜tool▁calls▁end｜><｜end▁of▁sentence｜>"
    "<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>3<｜tool▁output▁end｜>\n"
    "<｜tool▁output▁begin｜>4<｜tool▁output▁end｜><｜tool▁outputs▁end｜>Done.<｜end▁of▁sentence｜>"
    "<｜User｜>thanks<｜Assistant｜>";

TEST(DeepSeekV3Formats, ALongConversation) {
  EXPECT_EQ(render(long_conversation(), "deepseek-r1-0528"), fmt::format(fmt::runtime(kLongInV3), ""));
  EXPECT_EQ(render(long_conversation(), "deepseek-v3-0324"), fmt::format(fmt::runtime(kLongInV3), "<think>x</think>"));
  EXPECT_FALSE(opens_reasoning(long_conversation(), "deepseek-r1-0528"));
  EXPECT_FALSE(opens_reasoning(long_conversation(), "deepseek-v3-0324"));
}

TEST(DeepSeekV3Formats, TheAssistantsMarkerFollowsAUserAtOnceAndStandsNowhereTwice) {
  for (const char* const name : {"deepseek-r1-0528", "deepseek-v3-0324"}) {
    EXPECT_EQ(render({.messages = {user("a"), user("b")}, .add_generation_prompt = false}, name),
              "<｜begin▁of▁sentence｜><｜User｜>a<｜Assistant｜><｜User｜>b<｜Assistant｜>");
    EXPECT_EQ(
        render({.messages = {user("a"), assistant("b"), assistant("c")}}, name),
        "<｜begin▁of▁sentence｜><｜User｜>a<｜Assistant｜>b<｜end▁of▁sentence｜>c<｜end▁of▁sentence｜><｜Assistant｜>");
    EXPECT_TRUE(render({.messages = {user("a"), assistant("", {{"1", "f", "{}"}}), tool("b")}}, name)
                    .ends_with("b<｜tool▁output▁end｜><｜tool▁outputs▁end｜>"));
  }
}

TEST(DeepSeekV3Formats, ToolsAreNamedAndACallIsShown) {
  const auto add = boost::json::parse(R"({"type":"function","function":{"name":"add"}})");
  const std::string prompt = render({.messages = {system("a"), user("hi")}, .tools = {add}}, "deepseek-v3-0324");
  EXPECT_THAT(prompt, testing::StartsWith("<｜begin▁of▁sentence｜>a\n\n## Tools\n"));
  EXPECT_THAT(prompt,
              testing::HasSubstr("```json\n{\"type\": \"function\", \"function\": {\"name\": \"add\"}}\n```\n"));
  EXPECT_THAT(prompt, testing::EndsWith("<｜tool▁calls▁end｜><｜User｜>hi<｜Assistant｜>"));
  EXPECT_EQ(render({.messages = {system("a"), user("hi")}, .tools = {add}}, "deepseek-r1-0528"), prompt);
}

TEST(DeepSeekV31Format, ALongConversation) {
  EXPECT_EQ(render(long_conversation(), "deepseek-v3.1"),
            "<｜begin▁of▁sentence｜>a\n\nb<｜User｜>add<｜Assistant｜></think>I add.<｜tool▁calls▁begin｜>"
            "<｜tool▁call▁begin｜>add<｜tool▁sep｜>{}<｜tool▁call▁end｜>"
            "<｜tool▁call▁begin｜>list<｜tool▁sep｜>{\"b\": 1}<｜tool▁call▁end｜>"
            "<｜tool▁calls▁end｜><｜end▁of▁sentence｜>"
            "<｜tool▁output▁begin｜>3<｜tool▁output▁end｜><｜tool▁output▁begin｜>4<｜tool▁output▁end｜>"
            "Done.<｜end▁of▁sentence｜><｜User｜>thanks<｜Assistant｜></think>");
}

TEST(DeepSeekV31Format, ThinksWhenToldTo) {
  Conversation conversation{.messages = {user("hi")}, .template_arguments = {{"thinking", true}}};
  EXPECT_EQ(render(conversation, "deepseek-v3.1"), "<｜begin▁of▁sentence｜><｜User｜>hi<｜Assistant｜><think>");
  EXPECT_TRUE(opens_reasoning(conversation, "deepseek-v3.1"));
  conversation.template_arguments = {{"thinking", false}};
  EXPECT_EQ(render(conversation, "deepseek-v3.1"), "<｜begin▁of▁sentence｜><｜User｜>hi<｜Assistant｜></think>");
  EXPECT_FALSE(opens_reasoning(conversation, "deepseek-v3.1"));
  conversation.template_arguments = {{"thinking", "yes"}};
  EXPECT_THROW((void)render(conversation, "deepseek-v3.1"), TextError);
}

TEST(DeepSeekV31Format, ToolsAreSections) {
  const auto add = boost::json::parse(
      R"({"type":"function","function":{"name":"add","description":"Adds.","parameters":{"type":"object"}}})");
  const auto bare = boost::json::parse(R"({"type":"function","function":{"name":"list"}})");
  EXPECT_THAT(render({.messages = {system("a"), user("hi")}, .tools = {add, bare}}, "deepseek-v3.1"),
              testing::StartsWith("<｜begin▁of▁sentence｜>a\n\n## Tools\nYou have access to the following tools:\n\n"
                                  "### add\nDescription: Adds.\n\nParameters: {\"type\": \"object\"}\n\n"
                                  "### list\nDescription: \n\nParameters: {}\n\n"));
}

struct Continued {
  const char* format;
  Message message;
  const char* end;  // of the prompt, after <｜Assistant｜>
  bool in_reasoning;
};

TEST(DeepSeekFormats, ALastMessageIsContinued) {
  const Message thought{.role = Role::kAssistant, .content = "", .reasoning = "I"};
  const Message answered{.role = Role::kAssistant, .content = "Yes", .reasoning = "I think"};
  for (const Continued& each : std::vector<Continued>{
           {"deepseek-r1", assistant("Yes"), "Yes", false},
           {"deepseek-r1", thought, "<think>\nI", true},
           {"deepseek-r1", answered, "<think>\nI think\n</think>\n\nYes", false},
           {"deepseek-r1", assistant("<think>\nI"), "<think>\nI", true},
           {"deepseek-r1-0528", answered, "<think>\nI think\n</think>\n\nYes", false},
           {"deepseek-v3-0324", assistant("Yes"), "Yes", false},
           {"deepseek-v3.1", assistant("Yes"), "</think>Yes", false},
           {"deepseek-v3.1", thought, "<think>I", true},
           {"deepseek-v3.1", assistant("<think>I"), "<think>I", true},
           {"deepseek-v3.1", answered, "<think>I think</think>Yes", false},
       }) {
    const Conversation conversation{.messages = {user("Really?"), each.message}, .continue_final_message = true};
    EXPECT_EQ(render(conversation, each.format),
              std::string("<｜begin▁of▁sentence｜><｜User｜>Really?<｜Assistant｜>") + each.end);
    EXPECT_EQ(opens_reasoning(conversation, each.format), each.in_reasoning) << each.format << ' ' << each.end;
  }
}

TEST(DeepSeekFormats, OnlyAnAssistantsMessageWithoutCallsIsContinued) {
  for (const std::string& name : chat_format_names()) {
    EXPECT_THROW((void)render({.messages = {user("a")}, .continue_final_message = true}, name), TextError);
    EXPECT_THROW((void)render({.messages = {}, .continue_final_message = true}, name), TextError);
    EXPECT_THROW((void)render({.messages = {assistant("a", {{"1", "f", "{}"}})}, .continue_final_message = true}, name),
                 TextError);
  }
}

}  // namespace
}  // namespace bellwether::text
