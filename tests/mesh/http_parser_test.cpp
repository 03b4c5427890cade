#include "mesh/http_parser.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>

namespace bellwether::mesh {
namespace {

constexpr uint64_t kHeaderBytesMax = 1000;
constexpr uint64_t kBodyBytesMax = 1000;

struct Parsed {
  HttpRequest request;
  std::string rest;  // not consumed
};

// Hands `bytes` over in pieces of `step`, as a connection does. nullopt when they are no complete request.
std::optional<Parsed> parse(std::string_view bytes, size_t step) {
  HttpParser parser(kHeaderBytesMax, kBodyBytesMax);
  std::string buffer;
  while (!parser.done()) {
    if (bytes.empty()) return std::nullopt;
    buffer += bytes.substr(0, step);
    bytes.remove_prefix(std::min(step, bytes.size()));
    while (!parser.done() && !buffer.empty()) {
      const size_t consumed = parser.feed(buffer);
      if (consumed == 0) break;
      buffer.erase(0, consumed);
    }
  }
  return Parsed{parser.take(), buffer + std::string(bytes)};
}

TEST(HttpParser, DoesNotCareHowTheBytesArrive) {
  const std::string request =
      "POST /a%2Fb?x=1 HTTP/1.1\r\nHost: h\r\nX-Empty:\r\nX-Folded: a\r\n  b\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5\r\nhello\r\n6;e=\"v\"\r\n world\r\n0\r\nTrailer: t\r\n\r\n";
  for (size_t step = 1; step <= request.size() + 4; ++step) {
    SCOPED_TRACE(step);
    const auto parsed = parse(request + "NEXT", step);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->request.method, "POST");
    EXPECT_EQ(parsed->request.path, "/a/b");
    EXPECT_EQ(parsed->request.query, "x=1");
    EXPECT_EQ(parsed->request.body, "hello world");
    EXPECT_EQ(parsed->request.header("host"), "h");
    EXPECT_EQ(parsed->request.header("X-EMPTY"), "");
    EXPECT_EQ(parsed->request.header("x-folded"), "a b");
    EXPECT_EQ(parsed->request.header("trailer"), "");
    EXPECT_EQ(parsed->request.headers.size(), 4);
    EXPECT_EQ(parsed->rest, "NEXT");
  }
}

TEST(HttpParser, TakesAnEmptyChunkedBodyByteByByte) {
  const auto parsed = parse("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nNEXT", 1);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->request.body, "");
  EXPECT_EQ(parsed->rest, "NEXT");
}

TEST(HttpParser, LeavesTheNextRequestAlone) {
  const auto parsed = parse("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /next HTTP/1.1\r\n", 1000);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->request.path, "/");
  EXPECT_EQ(parsed->rest, "GET /next HTTP/1.1\r\n");
}

TEST(HttpParser, SplitsTargets) {
  const auto target = [](const std::string& text) {
    const auto parsed = parse("GET " + text + " HTTP/1.1\r\nHost: h\r\n\r\n", 1000);
    return parsed->request.path + "|" + parsed->request.query;
  };
  EXPECT_EQ(target("/a?b?c"), "/a|b?c");
  EXPECT_EQ(target("/a?"), "/a|");
  EXPECT_EQ(target("/%e2%82%ac+%2B"), "/\xe2\x82\xac++|");
  EXPECT_EQ(target("/a?u=http://b/c"), "/a|u=http://b/c");
  EXPECT_EQ(target("http://host:80/a?b"), "/a|b");
  EXPECT_EQ(target("http://host"), "/|");
  EXPECT_EQ(target("http://host?q"), "/|q");
  EXPECT_EQ(target("*"), "*|");
}

TEST(HttpParser, LimitsTheHeaderHoweverItArrives) {
  std::string request = "GET / HTTP/1.1\r\nHost: h\r\n";
  while (request.size() < kHeaderBytesMax) request += "X-Line: 0123456789\r\n";
  request += "\r\n";
  for (const size_t step : {size_t{1}, size_t{20}, size_t{333}, request.size()}) {
    SCOPED_TRACE(step);
    try {
      parse(request, step);
      FAIL() << "it took a header of " << request.size() << " bytes";
    } catch (const HttpRejection& rejection) {
      EXPECT_EQ(rejection.status, 431);
    }
  }
}

TEST(HttpParser, TakesABodyUpToItsLimit) {
  const auto status = [](size_t bytes, bool chunked) -> unsigned {
    std::string request = "POST / HTTP/1.1\r\nHost: h\r\n";
    if (chunked) {
      request += "Transfer-Encoding: chunked\r\n\r\n";
      for (size_t i = 0; i < bytes; ++i) request += "1\r\nx\r\n";
      request += "0\r\n\r\n";
    } else {
      request += "Content-Length: " + std::to_string(bytes) + "\r\n\r\n" + std::string(bytes, 'x');
    }
    try {
      return parse(request, 100)->request.body.size() == bytes ? 200 : 0;
    } catch (const HttpRejection& rejection) {
      return rejection.status;
    }
  };
  for (const bool chunked : {false, true}) {
    EXPECT_EQ(status(kBodyBytesMax, chunked), 200);
    EXPECT_EQ(status(kBodyBytesMax + 1, chunked), 413);
  }
}

}  // namespace
}  // namespace bellwether::mesh
