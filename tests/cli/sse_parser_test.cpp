#include "cli/chat/sse_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace bellwether::cli {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> parse(const std::vector<std::string>& pieces) {
  std::vector<std::string> events;
  SseParser parser([&](std::string_view data) { events.emplace_back(data); });
  for (const std::string& piece : pieces) EXPECT_TRUE(parser.push(piece));
  return events;
}

TEST(SseParser, HandsOutTheDataOfEachEvent) {
  EXPECT_THAT(parse({"data: {\"a\":1}\n\ndata: [DONE]\n\n"}), ElementsAre("{\"a\":1}", "[DONE]"));
}

TEST(SseParser, GivesTheSameForEveryCut) {
  const std::string stream =
      "\xEF\xBB\xBF"
      "data: one\r\n\r\n: comment\r\nid: 7\ndata:two\rdata:  three\n\ndata\n\n";
  const std::vector<std::string> whole = parse({stream});
  EXPECT_THAT(whole, ElementsAre("one", "two\n three", ""));
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    EXPECT_EQ(parse({stream.substr(0, cut), stream.substr(cut)}), whole) << cut;
  }
}

TEST(SseParser, PassesOverWhatHasNoData) {
  EXPECT_THAT(parse({"event: ping\n\n: keep-alive\n\n\n\ndatas: x\n\n"}), ElementsAre());
}

TEST(SseParser, HandsOutNothingThatIsNotFinished) {
  EXPECT_THAT(parse({"data: one\n\ndata: two\n"}), ElementsAre("one"));
}

TEST(SseParser, RefusesAnEventWithoutEnd) {
  int events = 0;
  SseParser parser([&](std::string_view) { ++events; });
  const std::string megabyte(1024 * 1024, 'x');
  EXPECT_TRUE(parser.push("data: "));
  bool taken = true;
  for (size_t bytes = 0; bytes <= SseParser::kEventBytesMax && taken; bytes += megabyte.size()) {
    taken = parser.push(megabyte);
  }
  EXPECT_FALSE(taken);
  EXPECT_FALSE(parser.push("\n\n"));
  EXPECT_EQ(events, 0);
}

TEST(SseParser, CountsTheLinesOfOneEventTogether) {
  SseParser parser([](std::string_view) {});
  const std::string line = "data: " + std::string(1024 * 1024, 'x') + "\n";
  bool taken = true;
  for (int i = 0; i < 5; ++i) taken = parser.push(line);
  EXPECT_FALSE(taken);
}

}  // namespace
}  // namespace bellwether::cli
