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

struct Outcome {
  std::string content;
  std::vector<std::string> calls;  // name(arguments)
  bool operator==(const Outcome&) const = default;
};

template <typename Parts>
Outcome split(const Parts& parts) {
  ToolCallSplitter splitter;
  Outcome outcome;
  const auto add = [&](const AnswerPiece& piece) {
    outcome.content += piece.content;
    for (const ToolCall& call : piece.tool_calls) {
      EXPECT_EQ(call.id, "");
      outcome.calls.push_back(call.name + "(" + call.arguments + ")");
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

TEST(ToolCallSplitter, ACallComesWhenItIsComplete) {
  ToolCallSplitter splitter;
  const std::string call = written_call("add", "{}");
  EXPECT_EQ(splitter.push("a <").content, "a ");
  EXPECT_EQ(splitter.push(" b").content, "< b");
  EXPECT_EQ(splitter.push(std::string(kBegin) + call.substr(0, call.size() - 1)).tool_calls.size(), 0U);
  const AnswerPiece piece = splitter.push(call.substr(call.size() - 1));
  EXPECT_EQ(piece.content, "");
  ASSERT_EQ(piece.tool_calls.size(), 1U);
  EXPECT_EQ(piece.tool_calls[0].name, "add");
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
  expect_all_content(begin + "<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{}<｜tool▁call▁end｜>" + end);
  expect_all_content(written_call("add", "{}"));
}

TEST(ToolCallSplitter, WhatIsCutOffIsContent) {
  const std::string text = "a" + std::string(kBegin) + written_call("add", "{}");
  for (size_t bytes = 0; bytes < text.size(); ++bytes) expect_all_content(text.substr(0, bytes));
  EXPECT_EQ(split_whole(text + "\n<｜tool▁call▁begin｜>func"), (Outcome{"a\n<｜tool▁call▁begin｜>func", {"add({})"}}));
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
