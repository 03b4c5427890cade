#include "mesh/trace_exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json/parse.hpp>

#include "mesh/clock.h"
#include "mesh/error.h"
#include "mesh/free_port.h"
#include "trace_collector.h"

namespace bellwether::mesh {
namespace {

using bellwether::testing::TraceCollector;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::SizeIs;

SpanData span_of(const std::string& name) {
  return {.context = {.trace_id = "0af7651916cd43dd8448eb211c80319c", .span_id = "b7ad6b7169203331"},
          .name = name,
          .start_unix_ns = 1,
          .end_unix_ns = 2};
}

TEST(Otlp, WhatItLooksLike) {
  SpanData span = span_of("POST /v1/chat/completions");
  span.parent_span_id = "00f067aa0ba902b7";
  span.start_unix_ns = 1'764'000'000'000'000'001;
  span.end_unix_ns = 1'764'000'000'000'000'777;
  span.attributes = {{"http.route", "/v1"}, {"http.response.status_code", int64_t{503}}};
  span.events = {{.name = "placed", .unix_ns = 1'764'000'000'000'000'100}};
  span.error = "no_replica";
  EXPECT_EQ(boost::json::parse(otlp_json({span}, "api-gateway", "gateway-1")), boost::json::parse(R"({"resourceSpans":[{
    "resource":{"attributes":[
      {"key":"service.name","value":{"stringValue":"bellwether-api-gateway"}},
      {"key":"service.version","value":{"stringValue":")" BELLWETHER_VERSION R"("}},
      {"key":"service.instance.id","value":{"stringValue":"gateway-1"}}]},
    "scopeSpans":[{"scope":{"name":"bellwether","version":")" BELLWETHER_VERSION R"("},"spans":[{
      "traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","parentSpanId":"00f067aa0ba902b7",
      "name":"POST /v1/chat/completions","kind":2,
      "startTimeUnixNano":"1764000000000000001","endTimeUnixNano":"1764000000000000777",
      "attributes":[{"key":"http.route","value":{"stringValue":"/v1"}},
                    {"key":"http.response.status_code","value":{"intValue":"503"}}],
      "events":[{"name":"placed","timeUnixNano":"1764000000000000100"}],
      "status":{"code":2,"message":"no_replica"}}]}]}]})"));
}

TEST(CollectorUrl, WhatIsTaken) {
  const auto read = [](const std::string& text) {
    const CollectorUrl url = parse_collector_url(text);
    return to_string(url.address) + " " + url.path;
  };
  EXPECT_EQ(read("http://127.0.0.1:4318"), "127.0.0.1:4318 /v1/traces");
  EXPECT_EQ(read("http://collector"), "collector:4318 /v1/traces");
  EXPECT_EQ(read("http://collector:9/"), "collector:9 /v1/traces");
  EXPECT_EQ(read("http://[::1]:9/otlp/"), "[::1]:9 /otlp/v1/traces");
  EXPECT_EQ(read("http://[::1]"), "[::1]:4318 /v1/traces");
}

TEST(CollectorUrl, WhatIsNot) {
  for (const char* bad :
       {"", "collector:4318", "https://collector:4318", "grpc://collector:4317", "http://", "http://:4318",
        "http://host:port", "http://host:99999", "http://host/a b", "http://host/?x", "http://host/\r\nX: y"}) {
    EXPECT_THROW((void)parse_collector_url(bad), Error) << bad;
  }
}

class TraceExporterTest : public ::testing::Test {
 protected:
  void start(const std::string& url) {
    exporter_.emplace(io_.get_executor(), buffer_, parse_collector_url(url), "tiny", "tiny-1");
  }
  void push(size_t count) {
    for (size_t i = 0; i < count; ++i) buffer_->push(span_of("span"));
  }
  template <class Condition>
  void run_until(Condition condition) {
    const TimePoint give_up = steady_now() + seconds(20);
    while (!condition() && steady_now() < give_up) {
      io_.restart();  // nothing may have been left to do
      io_.run_for(milliseconds(10));
    }
    ASSERT_TRUE(condition());
  }
  void stop(milliseconds time_max) {
    bool stopped = false;
    boost::asio::co_spawn(io_, exporter_->stop(time_max), [&](const std::exception_ptr&) { stopped = true; });
    run_until([&] { return stopped; });
  }

  std::shared_ptr<SpanBuffer> buffer_ = std::make_shared<SpanBuffer>(2000);
  boost::asio::io_context io_{1};
  std::optional<TraceExporter> exporter_;
};

TEST_F(TraceExporterTest, SendsSpansInBatches) {
  TraceCollector collector;
  start(collector.url());
  push(1300);
  run_until([&] { return exporter_->counters().exported == 1300; });
  const auto posts = collector.wait_for_posts(3);
  ASSERT_THAT(posts, SizeIs(3));
  EXPECT_EQ(posts[0].path, "/v1/traces");
  EXPECT_EQ(posts[0].content_type, "application/json");
  EXPECT_EQ(posts[0].spans, TraceExporter::kBatchSpansMax);
  EXPECT_EQ(posts[2].spans, 1300 - 2 * TraceExporter::kBatchSpansMax);
  const auto spans = collector.wait_for_spans(1300);
  EXPECT_EQ(spans[0].service, "bellwether-tiny");
  EXPECT_EQ(spans[0].name, "span");
}

TEST_F(TraceExporterTest, APathOfTheCollector) {
  TraceCollector collector;
  start(collector.url() + "/below");
  push(1);
  run_until([&] { return exporter_->counters().exported == 1; });
  EXPECT_EQ(collector.wait_for_posts(1)[0].path, "/below/v1/traces");
}

TEST_F(TraceExporterTest, ABusyCollectorIsAskedAgain) {
  TraceCollector collector({503, 429});
  start(collector.url());
  push(5);
  run_until([&] { return exporter_->counters().exported == 5; });
  EXPECT_THAT(collector.wait_for_posts(3), SizeIs(3));
  EXPECT_EQ(exporter_->counters().refused, 0U);
}

TEST_F(TraceExporterTest, WhatIsRefusedIsGone) {
  TraceCollector collector({400});
  start(collector.url());
  push(5);
  run_until([&] { return exporter_->counters().refused == 5; });
  push(2);
  run_until([&] { return exporter_->counters().exported == 2; });
  EXPECT_THAT(collector.wait_for_posts(2), SizeIs(2));
}

TEST_F(TraceExporterTest, ACollectorThatIsAwayGetsWhatFittedMeanwhile) {
  const std::string address = "127.0.0.1:" + std::to_string(free_loopback_ports(1)[0]);
  start("http://" + address);
  push(1);
  run_until([&] { return buffer_->size() == 0; });  // it is being sent
  push(2500);
  EXPECT_EQ(buffer_->dropped(), 500U);
  io_.run_for(milliseconds(200));
  EXPECT_EQ(buffer_->size(), 2000U) << "no more than the buffer";
  TraceCollector collector({}, address);
  run_until([&] { return exporter_->counters().exported == 2001; });
}

TEST_F(TraceExporterTest, StopSendsTheRest) {
  TraceCollector collector;
  start(collector.url());
  push(700);
  stop(seconds(10));
  EXPECT_THAT(collector.wait_for_spans(700), SizeIs(700));
  stop(seconds(10));
}

TEST_F(TraceExporterTest, StopDoesNotWaitForACollectorThatIsAway) {
  start("http://127.0.0.1:" + std::to_string(free_loopback_ports(1)[0]));
  push(700);
  const TimePoint begin = steady_now();
  stop(seconds(10));
  EXPECT_LT(steady_now() - begin, seconds(5));
}

// Takes connections and never answers.
TEST_F(TraceExporterTest, StopWaitsForASilentCollectorNoLongerThanTold) {
  boost::asio::io_context silent;
  HttpServer server(silent.get_executor(), {});
  start("http://" + server.bind("127.0.0.1:0"));
  push(1);
  const TimePoint begin = steady_now();
  stop(milliseconds(300));
  EXPECT_GE(steady_now() - begin, milliseconds(300));
  EXPECT_LT(steady_now() - begin, seconds(3));
}

}  // namespace
}  // namespace bellwether::mesh
