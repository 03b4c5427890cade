#include "mesh/log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <limits>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <boost/json/parse.hpp>

namespace bellwether::mesh::log {
namespace {

constexpr uint64_t kUnixMs = 1700000000042;  // 2023-11-14T22:13:20.042Z

std::string json(std::string_view event, Fields fields) {
  return render(Format::kJson, "svc", Level::kInfo, kUnixMs, event, fields);
}

std::string text(std::string_view event, Fields fields) {
  setenv("TZ", "UTC", 1);
  tzset();
  return render(Format::kText, "svc", Level::kWarning, kUnixMs, event, fields);
}

TEST(LogJson, HasTimeLevelServiceEventThenFieldsInOrder) {
  EXPECT_EQ(json("placed", {{"id", "r-1"}, {"n", -3}, {"u", 7U}, {"ms", 0.25}, {"ok", true}}),
            R"({"time":"2023-11-14T22:13:20.042Z","level":"info","service":"svc","event":"placed",)"
            R"("id":"r-1","n":-3,"u":7,"ms":0.25,"ok":true})");
}

TEST(LogJson, IsParsedBackWhateverTheText) {
  std::string every_byte;
  for (int c = 0; c < 256; ++c) every_byte += static_cast<char>(c);
  const std::string line = json(every_byte, {{"k\"\n", "ü€😀\"\\\n\t\r\x01\x7F"}});
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto parsed = boost::json::parse(line).as_object();
  EXPECT_EQ(parsed.at("k\"\n").as_string(), "ü€😀\"\\\n\t\r\x01\x7F");
}

TEST(LogJson, ReplacesEachByteThatIsNoUtf8) {
  static constexpr std::array<std::string_view, 7> kBad = {
      "\x80", "\xC0\xAF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF0\x9F\x98", "\xFF"};
  for (const std::string_view bad : kBad) {
    std::string expected = "a";
    for (size_t i = 0; i < bad.size(); ++i) expected += "\xEF\xBF\xBD";
    const auto parsed = boost::json::parse(json("e", {{"k", "a" + std::string(bad) + "z"}})).as_object();
    EXPECT_EQ(parsed.at("k").as_string(), expected + "z");
  }
}

TEST(LogJson, NumbersThatJsonCannotSayAreNull) {
  const auto parsed = boost::json::parse(json("e", {{"nan", std::nan("")},
                                                    {"inf", std::numeric_limits<double>::infinity()},
                                                    {"big", std::numeric_limits<uint64_t>::max()}}))
                          .as_object();
  EXPECT_TRUE(parsed.at("nan").is_null());
  EXPECT_TRUE(parsed.at("inf").is_null());
  EXPECT_EQ(parsed.at("big").as_uint64(), std::numeric_limits<uint64_t>::max());
}

TEST(LogJson, LongTextIsCut) {
  const std::string line = json("e", {{"k", std::string(1000000, 'x')}});
  EXPECT_LT(line.size(), 10000U);
  EXPECT_TRUE(boost::json::parse(line).is_object());
}

TEST(LogText, QuotesOnlyWhatNeedsIt) {
  EXPECT_EQ(
      text("it happened", {{"a", "plain-1/2:3"}, {"b", "two words"}, {"c", ""}, {"d", "x=y"}, {"n", 5}, {"u", "é"}}),
      R"(22:13:20.042 WARN  svc: it happened a=plain-1/2:3 b="two words" c="" d="x=y" n=5 u=é)");
}

TEST(LogText, NothingReachesTheTerminalThatItWouldActOn) {
  const std::string line = text("\x1b[31mred\n", {{"k", "\x1b]0;title\x07\xC2\x9B"}});
  for (const char c : line) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << line;
  EXPECT_NE(line.find("\\u001b[31mred\\n"), std::string::npos) << line;
  EXPECT_NE(line.find("\\u009b"), std::string::npos) << line;
}

TEST(LogWrite, ManyThreadsWriteWholeLinesAndLevelsAreKept) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  const int saved = dup(STDERR_FILENO);
  dup2(ends[1], STDERR_FILENO);
  close(ends[1]);
  std::string output;
  std::thread reader([&] {
    std::array<char, 4096> buffer{};
    for (ssize_t n = 0; (n = read(ends[0], buffer.data(), buffer.size())) > 0;) {
      output.append(buffer.data(), static_cast<size_t>(n));
    }
  });

  configure("threads", Level::kInfo, Format::kAuto);  // no terminal: JSON
  std::vector<std::thread> writers;
  for (int t = 0; t < 4; ++t) {
    writers.emplace_back([t] {
      for (int i = 0; i < 100; ++i) {
        info("line", {{"thread", t}, {"number", i}});
        debug("hidden");
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_FALSE(enabled(Level::kDebug));
  EXPECT_TRUE(enabled(Level::kError));
  dup2(saved, STDERR_FILENO);
  close(saved);
  reader.join();
  close(ends[0]);

  int lines = 0;
  for (size_t start = 0, end = 0; (end = output.find('\n', start)) != std::string::npos; start = end + 1, ++lines) {
    const auto line = boost::json::parse(output.substr(start, end - start)).as_object();
    EXPECT_EQ(line.at("event").as_string(), "line");
    EXPECT_EQ(line.at("service").as_string(), "threads");
  }
  EXPECT_EQ(lines, 400);
}

}  // namespace
}  // namespace bellwether::mesh::log
