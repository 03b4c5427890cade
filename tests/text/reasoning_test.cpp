#include "text/reasoning.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>

#include "text/support.h"

namespace bellwether::text {
namespace {

struct Outcome {
  std::string reasoning;
  std::string content;
  bool operator==(const Outcome&) const = default;
};

void PrintTo(const Outcome& outcome, std::ostream* out) {
  *out << outcome.reasoning << " | " << outcome.content;
}

template <typename Parts>
Outcome split(bool starts_inside, const Parts& parts) {
  ReasoningSplitter splitter(starts_inside);
  Outcome outcome;
  const auto add = [&](const SplitText& piece) {
    outcome.reasoning += piece.reasoning;
    outcome.content += piece.content;
  };
  for (const std::string_view part : parts) add(splitter.push(part));
  add(splitter.finish());
  return outcome;
}

Outcome split_whole(bool starts_inside, std::string_view text) {
  return split(starts_inside, std::vector<std::string_view>{text});
}

TEST(ReasoningSplitter, AsDeepSeekR1Writes) {
  const Outcome expected{"I add.\n1 + 1", "It is 2.\n"};
  EXPECT_EQ(split_whole(true, "I add.\n1 + 1\n</think>\n\nIt is 2.\n"), expected);
  EXPECT_EQ(split_whole(false, "<think>\nI add.\n1 + 1\n</think>\n\nIt is 2.\n"), expected);
}

TEST(ReasoningSplitter, WithoutTheEndEverythingIsReasoning) {
  EXPECT_EQ(split_whole(true, "I add.\n"), (Outcome{"I add.", ""}));
  EXPECT_EQ(split_whole(true, "I add.\n</thin"), (Outcome{"I add.\n</thin", ""}));
  EXPECT_EQ(split_whole(true, ""), (Outcome{"", ""}));
}

TEST(ReasoningSplitter, WithoutTheBeginningEverythingIsAnswer) {
  EXPECT_EQ(split_whole(false, "\nIt is 2.</think>"), (Outcome{"", "\nIt is 2.</think>"}));
  EXPECT_EQ(split_whole(false, "<thin"), (Outcome{"", "<thin"}));
  EXPECT_EQ(split_whole(false, "<<think>"), (Outcome{"", "<<think>"}));
}

TEST(ReasoningSplitter, WhatIsNearlyATagIsText) {
  EXPECT_EQ(split_whole(true, "\na < b</</think</thin\n\n</think>x</think>"),
            (Outcome{"a < b</</think</thin", "x</think>"}));
  EXPECT_EQ(split_whole(true, "\n\n</thi</think>\n"), (Outcome{"</thi", ""}));
  EXPECT_EQ(split_whole(true, "a\n\n<</think>"), (Outcome{"a\n\n<", ""}));
  EXPECT_EQ(split_whole(true, "</think>\n\nIt is 2."), (Outcome{"", "It is 2."}));
}

TEST(ReasoningSplitter, TextComesAsSoonAsItIsCertain) {
  ReasoningSplitter splitter(true);
  EXPECT_EQ(splitter.push("\nI add").reasoning, "I add");
  EXPECT_EQ(splitter.push(".\n").reasoning, ".");
  EXPECT_EQ(splitter.push("So").reasoning, "\nSo");
  EXPECT_TRUE(splitter.in_reasoning());
  EXPECT_EQ(splitter.push("\n</think>").reasoning, "");
  EXPECT_FALSE(splitter.in_reasoning());
  EXPECT_EQ(splitter.push("\n").content, "");
  EXPECT_EQ(splitter.push("\n2").content, "2");
  EXPECT_EQ(splitter.push("\n").content, "\n");
}

TEST(ReasoningSplitter, AnyCuttingGivesTheSame) {
  static constexpr std::string_view kParts[] = {"<think>", "</think>", "\n", "\n\n", "<", "</", "think>", "a", "中"};
  std::mt19937_64 random(3);
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (uint64_t parts = random() % 12; parts > 0; --parts) text += kParts[random() % std::size(kParts)];
    const bool starts_inside = random() % 2 == 0;
    ASSERT_EQ(split(starts_inside, cut_at_random(text, random)), split_whole(starts_inside, text)) << text;
  }
}

}  // namespace
}  // namespace bellwether::text
