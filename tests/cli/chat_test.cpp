#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "cli/chat/printer.h"
#include "cli/chat/reply_event.h"
#include "cli/chat/session.h"

namespace bellwether::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(ReplyEvent, ReadsTextOfBothKinds) {
  const ReplyEvent event =
      parse_reply_event(R"({"choices":[{"delta":{"reasoning_content":"hm","content":"yes"},"finish_reason":null}]})");
  EXPECT_EQ(event.reasoning, "hm");
  EXPECT_EQ(event.content, "yes");
  EXPECT_EQ(event.finish_reason, "");
  EXPECT_EQ(event.error, "");
  EXPECT_EQ(parse_reply_event(R"({"choices":[{"delta":{"reasoning":"hm"}}]})").reasoning, "hm");
}

TEST(ReplyEvent, ReadsTheEnd) {
  EXPECT_EQ(parse_reply_event(R"({"choices":[{"delta":{},"finish_reason":"stop"}]})").finish_reason, "stop");
  EXPECT_EQ(parse_reply_event(R"({"choices":[],"usage":{"completion_tokens":73}})").completion_tokens, 73);
  EXPECT_TRUE(parse_reply_event("[DONE]").done);
}

TEST(ReplyEvent, LosesNoError) {
  EXPECT_EQ(parse_reply_event(R"({"error":{"message":"overloaded","code":503}})").error, "overloaded");
  EXPECT_EQ(parse_reply_event(R"({"error":"plain"})").error, "plain");
  EXPECT_THAT(parse_reply_event(R"({"error":{}})").error, HasSubstr("without a message"));
  EXPECT_THAT(parse_reply_event("<html>").error, HasSubstr("<html>"));
  EXPECT_THAT(parse_reply_event("7").error, HasSubstr("no JSON object"));
}

TEST(ReplyEvent, TakesStrangeShapesWithoutHarm) {
  for (const char* data : {R"({})", R"({"choices":7})", R"({"choices":[7]})", R"({"choices":[{"delta":[]}]})",
                           R"({"choices":[{"delta":{"content":null}}]})", R"({"usage":[]})"}) {
    const ReplyEvent event = parse_reply_event(data);
    EXPECT_EQ(event.content, "") << data;
    EXPECT_EQ(event.error, "") << data;
  }
}

TEST(ErrorMessage, IsTheServersWhereItHasOne) {
  EXPECT_EQ(error_message(404, R"({"error":{"message":"The model `x` does not exist"}})"),
            "The model `x` does not exist");
  EXPECT_THAT(error_message(502, "<html>bad gateway"), HasSubstr("<html>bad gateway"));
  EXPECT_THAT(error_message(503, ""), HasSubstr("503"));
}

TEST(ModelIds, AreReadInOrder) {
  EXPECT_THAT(model_ids(R"({"data":[{"id":"b"},{"id":"a"},{}]})"), ElementsAre("b", "a"));
  EXPECT_THAT(model_ids("[]"), IsEmpty());
  EXPECT_THAT(model_ids("no"), IsEmpty());
}

TEST(ChatSession, TellsTheWholeConversation) {
  ChatSession session("m", "Be brief.", 0.0);
  session.remember("one?", "1");
  const auto body = boost::json::parse(session.request_body("two?"));
  EXPECT_EQ(body.at("messages"), boost::json::parse(R"([{"role":"system","content":"Be brief."},
      {"role":"user","content":"one?"},{"role":"assistant","content":"1"},{"role":"user","content":"two?"}])"));
  EXPECT_EQ(body.at("model"), "m");
  EXPECT_EQ(body.at("temperature"), 0.0);
  EXPECT_EQ(body.at("stream"), true);
}

TEST(ChatSession, LeavesOutWhatWasNotChosen) {
  const auto body = boost::json::parse(ChatSession("m", "", std::nullopt).request_body("hi"));
  EXPECT_EQ(body.at("messages").as_array().size(), 1U);
  EXPECT_FALSE(body.as_object().contains("temperature"));
}

TEST(ChatSession, ResetKeepsTheSystemMessage) {
  ChatSession session("m", "Be brief.", std::nullopt);
  session.remember("one?", "1");
  session.reset();
  EXPECT_EQ(boost::json::parse(session.request_body("two?")).at("messages").as_array().size(), 2U);
}

std::string printed(const Terminal& terminal) {
  std::string out;
  AnswerPrinter printer(terminal, [&](std::string_view text) { out += text; });
  printer.reasoning("I th");
  printer.reasoning("ink.");
  printer.content("Yes");
  printer.content(".");
  printer.finish();
  printer.finish();
  return out;
}

TEST(AnswerPrinter, DimsTheReasoningOnATerminal) {
  EXPECT_EQ(printed({.is_terminal = true, .styled = true}), "\x1b[2mI th\x1b[0m\x1b[2mink.\x1b[0m\n\nYes.\n");
}

TEST(AnswerPrinter, NamesThePartsWithoutStyles) {
  EXPECT_EQ(printed({.is_terminal = true, .styled = false}), "[reasoning]\nI think.\n[answer]\nYes.\n");
}

TEST(AnswerPrinter, PipesTheAnswerAlone) {
  EXPECT_EQ(printed({}), "Yes.\n");
}

TEST(AnswerPrinter, LetsNoAnswerDriveTheTerminal) {
  std::string out;
  AnswerPrinter printer({.is_terminal = true}, [&](std::string_view text) { out += text; });
  printer.content(
      "a\x1b]0;title\x07\tb\xC2\x9B"
      "31mc \xF0\x9F\xA4\x96\n");
  printer.finish();
  EXPECT_EQ(out, "a]0;title\tb31mc \xF0\x9F\xA4\x96\n");
}

}  // namespace
}  // namespace bellwether::cli
