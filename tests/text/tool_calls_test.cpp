#include "text/tool_calls.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "text/support.h"

namespace bellwether::text {
namespace {

constexpr std::string_view kBegin = "<｜tool▁calls▁begin｜>";
constexpr std::string_view kEnd = "<｜tool▁calls▁end｜>";

std::string written_call(std::string_view name, std::string_view arguments) {
  return "<｜tool▁call▁begin｜>function<｜tool▁sep｜>" + std::string(name) + "\n```json\n" + std::string(arguments) +
         "\n```<｜tool▁call▁end｜>";
}

std::string written_call_v31(std::string_view name, std::string_view arguments) {
  return "<｜tool▁call▁begin｜>" + std::string(name) + "<｜tool▁sep｜>" + std::string(arguments) +
         "<｜tool▁call▁end｜>";
}

struct Outcome {
  std::string content;
  std::vector<std::string> calls;  // name(arguments), without the last parenthesis when it does not end
  bool operator==(const Outcome&) const = default;
};

template <typename Parts>
Outcome split(const Parts& parts) {
  ToolCallSplitter splitter;
  Outcome outcome;
  const auto add = [&](const AnswerPiece& piece) {
    outcome.content += piece.content;
    for (const ToolCallDelta& delta : piece.tool_calls) {
      if (!delta.name.empty()) outcome.calls.push_back(delta.name + "(");
      ASSERT_EQ(delta.call + 1, outcome.calls.size());
      outcome.calls.back() += delta.arguments + (delta.ends ? ")" : "");
    }
  };
  for (const std::string_view part : parts) add(splitter.push(part));
  add(splitter.finish());
  return outcome;
}

Outcome split_whole(std::string_view text) {
  return split(std::vector<std::string_view>{text});
}

void expect_all_content(const std::string& text) {
  EXPECT_EQ(split_whole(text), (Outcome{text, {}}));
}

TEST(ToolCallSplitter, TextAroundASectionOfTwoCalls) {
  const std::string text = "Let me see.\n\n" + std::string(kBegin) + written_call("add", "{\"a\": 1}") + "\n" +
                           written_call("list", "{}") + std::string(kEnd) + "Done.";
  EXPECT_EQ(split_whole(text), (Outcome{"Let me see.\n\nDone.", {"add({\"a\": 1})", "list({})"}}));
}

TEST(ToolCallSplitter, TheNameComesWhenItIsCertainAndArgumentsAsTheyAreWritten) {
  ToolCallSplitter splitter;
  EXPECT_EQ(splitter.push("a <").content, "a ");
  EXPECT_EQ(splitter.push(" b").content, "< b");
  const std::string head = std::string(kBegin) + "<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json";
  EXPECT_EQ(splitter.push(head).tool_calls.size(), 0U);
  AnswerPiece piece = splitter.push("\n");
  ASSERT_EQ(piece.tool_calls.size(), 1U);
  EXPECT_EQ(piece.tool_calls[0].name, "add");
  EXPECT_EQ(piece.tool_calls[0].arguments, "");
  piece = splitter.push("{\"a\":");
  ASSERT_EQ(piece.tool_calls.size(), 1U);
  EXPECT_EQ(piece.tool_calls[0].name, "");
  EXPECT_EQ(piece.tool_calls[0].arguments, "{\"a\":");
  piece = splitter.push("1}\n``");
  ASSERT_EQ(piece.tool_calls.size(), 1U);
  EXPECT_EQ(piece.tool_calls[0].arguments, "1}") << "what may be the closing fence waits";
  EXPECT_FALSE(piece.tool_calls[0].ends);
  piece = splitter.push("`<｜tool▁call▁end｜>");
  ASSERT_EQ(piece.tool_calls.size(), 1U);
  EXPECT_EQ(piece.tool_calls[0].arguments, "");
  EXPECT_TRUE(piece.tool_calls[0].ends);
}

TEST(ToolCallSplitter, CallsOfV31HaveNoTypeAndNoFence) {
  const std::string text = std::string(kBegin) + written_call_v31("add", "{\"a\": \"\n```\"}") +
                           written_call_v31("function", "{}") + std::string(kEnd) + "Done.";
  EXPECT_EQ(split_whole(text), (Outcome{"Done.", {"add({\"a\": \"\n```\"})", "function({})"}}));
}

TEST(ToolCallSplitter, ArgumentsAreAsTheModelWroteThem) {
  const std::string arguments = "{\n  \"code\": \"```json\\n< ｜ ```\"\n```\n}";
  EXPECT_EQ(split_whole(std::string(kBegin) + written_call("run", arguments) + std::string(kEnd)).calls,
            std::vector<std::string>{"run(" + arguments + ")"});
}

TEST(ToolCallSplitter, WhatIsMalformedIsContent) {
  const std::string begin(kBegin);
  const std::string end(kEnd);
  expect_all_content(begin + end);
  expect_all_content(begin + "hello" + end);
  expect_all_content(begin + written_call("", "{}") + end);
  expect_all_content(begin + "<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n{}<｜tool▁call▁end｜>" + end);
  expect_all_content(begin + "<｜tool▁call▁begin｜>add\n```json\n{}\n```<｜tool▁call▁end｜>" + end);
  expect_all_content(begin + written_call_v31("", "{}") + end);
  expect_all_content(begin + written_call_v31("add", "[]") + end);
  expect_all_content(written_call("add", "{}"));
}

// The limit holds for the name, however it comes.
TEST(ToolCallSplitter, ANameThatIsTooLongIsContentWholeOrInPieces) {
  for (const auto& write : {written_call, written_call_v31}) {
    for (const size_t bytes : {size_t{256}, size_t{257}}) {
      const std::string text = std::string(kBegin) + write(std::string(bytes, 'x'), "{}") + std::string(kEnd);
      std::vector<std::string_view> pieces;
      for (size_t i = 0; i < text.size(); ++i) pieces.push_back(std::string_view(text).substr(i, 1));
      EXPECT_EQ(split_whole(text).calls.size(), bytes == 256 ? 1U : 0U);
      EXPECT_EQ(split(pieces), split_whole(text)) << bytes;
    }
  }
}

TEST(ToolCallSplitter, AFenceThatIsNotClosedEndsWithItsCall) {
  const std::string call = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{}<｜tool▁call▁end｜>";
  EXPECT_EQ(split_whole(std::string(kBegin) + call + std::string(kEnd)), (Outcome{"", {"add({})"}}));
}

TEST(ToolCallSplitter, WhatIsCutOffBeforeItsArgumentsIsContent) {
  const std::string call = written_call("add", "{}");
  const std::string text = "a" + std::string(kBegin) + call;
  const size_t arguments = text.find("{}");
  for (size_t bytes = 0; bytes < arguments; ++bytes) expect_all_content(text.substr(0, bytes));
  for (size_t bytes = arguments; bytes < text.size(); ++bytes) {
    const Outcome outcome = split_whole(text.substr(0, bytes));
    EXPECT_EQ(outcome.content, "a");
    ASSERT_EQ(outcome.calls.size(), 1U);
    EXPECT_TRUE(outcome.calls[0].starts_with("add(")) << outcome.calls[0];
    EXPECT_FALSE(outcome.calls[0].ends_with(")")) << outcome.calls[0];
  }
  EXPECT_EQ(split_whole(text + "\n<｜tool▁call▁begin｜>func"), (Outcome{"a\n<｜tool▁call▁begin｜>func", {"add({})"}}));
  EXPECT_EQ(split_whole(text.substr(0, text.size() - std::string_view("<｜tool▁call▁end｜>").size())),
            (Outcome{"a", {"add({}"}}))
      << "a fence that closes what is cut off is no argument";
}

TEST(ToolCallSplitter, ASectionAfterAMalformedOneIsFound) {
  const std::string good = std::string(kBegin) + written_call("add", "{}") + std::string(kEnd);
  EXPECT_EQ(split_whole(std::string(kBegin) + "x" + good), (Outcome{std::string(kBegin) + "x", {"add({})"}}));
  EXPECT_EQ(split_whole(std::string(kBegin) + good), (Outcome{std::string(kBegin), {"add({})"}}));
}

TEST(ToolCallSplitter, AnyCuttingGivesTheSameAndLosesNothing) {
  static const std::string kParts[] = {std::string(kBegin),
                                       std::string(kEnd),
                                       "<｜tool▁call▁begin｜>",
                                       "function",
                                       "<｜tool▁sep｜>",
                                       "add",
                                       "\n```json\n",
                                       "{}",
                                       "\n```",
                                       "<｜tool▁call▁end｜>",
                                       "\n",
                                       "<",
                                       "<｜tool",
                                       written_call("f", "1"),
                                       written_call_v31("h", "{3}"),
                                       std::string(kBegin) + written_call("g", "2")};
  std::mt19937_64 random(4);
  size_t calls = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (uint64_t parts = random() % 14; parts > 0; --parts) text += kParts[random() % std::size(kParts)];
    const Outcome whole = split_whole(text);
    ASSERT_EQ(split(cut_at_random(text, random)), whole) << text;
    calls += whole.calls.size();
    if (whole.calls.empty()) ASSERT_EQ(whole.content, text);
  }
  EXPECT_GT(calls, 1000U);
}

TEST(ToolCallSplitter, MarkersAreAddedTokensOfTheModel) {
  EXPECT_EQ(tool_call_markers().size(), 5U);
  for (const std::string& marker : tool_call_markers()) {
    EXPECT_TRUE(demo_tokenizer().id_of_added_token(marker).has_value()) << marker;
  }
}

}  // namespace
}  // namespace bellwether::text
