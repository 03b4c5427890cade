#include "mesh/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace bellwether::mesh {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::SizeIs;

const std::string kTraceId = "0af7651916cd43dd8448eb211c80319c";
const std::string kParent = "00-" + kTraceId + "-b7ad6b7169203331-01";
const std::string kUnsampled = "00-" + kTraceId + "-b7ad6b7169203331-00";

TEST(Traceparent, IsReadAndWritten) {
  const auto context = parse_traceparent(kParent);
  ASSERT_TRUE(context.has_value());
  EXPECT_EQ(context->trace_id, kTraceId);
  EXPECT_EQ(context->span_id, "b7ad6b7169203331");
  EXPECT_TRUE(context->sampled);
  EXPECT_EQ(to_traceparent(*context), kParent);
  ASSERT_TRUE(parse_traceparent(kUnsampled).has_value());
  EXPECT_FALSE(parse_traceparent(kUnsampled)->sampled);
  EXPECT_EQ(to_traceparent(*parse_traceparent(kUnsampled)), kUnsampled);
}

TEST(Traceparent, OtherFlagsAreLeftAlone) {
  const std::string ids = kParent.substr(0, 53);
  for (const char* sampled : {"03", "ff", "0b"}) EXPECT_TRUE(parse_traceparent(ids + sampled)->sampled) << sampled;
  for (const char* not_sampled : {"02", "fe", "0a"}) {
    EXPECT_FALSE(parse_traceparent(ids + not_sampled)->sampled) << not_sampled;
  }
}

TEST(Traceparent, WhatIsNone) {
  for (const std::string& bad : {std::string(), std::string("00"), kParent + "0", "01" + kParent.substr(2),
                                 "00-" + std::string(32, '0') + kParent.substr(35),
                                 kParent.substr(0, 36) + std::string(16, '0') + "-01", kParent.substr(0, 53) + "0x",
                                 kParent.substr(0, 53) + "0F", kParent.substr(0, 35) + "+" + kParent.substr(36), "00-" + std::string(32, 'A') + kParent.substr(35)}) {
    EXPECT_FALSE(parse_traceparent(bad).has_value()) << bad;
  }
}

class TracerTest : public ::testing::Test {
 protected:
  [[nodiscard]] SpanData only_span() const {
    std::vector<SpanData> spans = buffer_->take(2);
    EXPECT_THAT(spans, SizeIs(1));
    return spans.empty() ? SpanData() : spans[0];
  }

  std::shared_ptr<SpanBuffer> buffer_ = std::make_shared<SpanBuffer>(100);
  Tracer tracer_{buffer_, 1, 7};
};

TEST_F(TracerTest, ASpanIsAPartOfWhatCameBefore) {
  std::string handed_on;
  {
    const Span span = tracer_.continue_trace("place", SpanKind::kServer, kParent);
    EXPECT_TRUE(span.recorded());
    handed_on = span.traceparent();
    EXPECT_EQ(buffer_->size(), 0U) << "it has not ended";
  }
  const SpanData data = only_span();
  EXPECT_EQ(data.context.trace_id, kTraceId);
  EXPECT_EQ(data.parent_span_id, "b7ad6b7169203331");
  EXPECT_NE(data.context.span_id, data.parent_span_id);
  EXPECT_EQ(handed_on, "00-" + kTraceId + "-" + data.context.span_id + "-01");
  EXPECT_GE(data.end_unix_ns, data.start_unix_ns);
  EXPECT_GT(data.start_unix_ns, 1'700'000'000'000'000'000U);
}

TEST_F(TracerTest, AnotherServiceGoesOnWhereThisOneHandedOver) {
  const Span first = tracer_.begin_trace("request", SpanKind::kServer, "");
  Tracer other(buffer_, 1, 8);
  const Span second = other.continue_trace("place", SpanKind::kServer, first.traceparent());
  EXPECT_EQ(parse_traceparent(second.traceparent())->trace_id, parse_traceparent(first.traceparent())->trace_id);
  EXPECT_NE(parse_traceparent(second.traceparent())->span_id, parse_traceparent(first.traceparent())->span_id);
}

TEST_F(TracerTest, WhatItSays) {
  {
    Span span = tracer_.begin_trace("request", SpanKind::kConsumer, "");
    span.set("name", "value");
    span.set("count", 7);
    span.event("placed");
    span.event("first token");
    span.fail("no_replica");
  }
  const SpanData data = only_span();
  EXPECT_EQ(data.kind, SpanKind::kConsumer);
  EXPECT_THAT(data.attributes, ElementsAre(Pair("name", SpanValue("value")), Pair("count", SpanValue(int64_t{7}))));
  ASSERT_THAT(data.events, SizeIs(2));
  EXPECT_EQ(data.events[1].name, "first token");
  EXPECT_GE(data.events[1].unix_ns, data.events[0].unix_ns);
  EXPECT_EQ(data.error, "no_replica");
  EXPECT_EQ(data.parent_span_id, "");
}

TEST_F(TracerTest, ASpanEndsOnce) {
  Span span = tracer_.begin_trace("request", SpanKind::kServer, "");
  Span moved = std::move(span);
  moved.end();
  moved.end();
  EXPECT_FALSE(moved.recorded());
  EXPECT_EQ(buffer_->size(), 1U);
  Span replaced = tracer_.begin_trace("request", SpanKind::kServer, "");
  replaced = Span();
  EXPECT_EQ(buffer_->size(), 2U);
}

TEST_F(TracerTest, EventsAreBounded) {
  {
    Span span = tracer_.begin_trace("request", SpanKind::kServer, "");
    for (size_t i = 0; i < Span::kEventsMax + 5; ++i) span.event("again");
  }
  EXPECT_THAT(only_span().events, SizeIs(Span::kEventsMax));
}

TEST_F(TracerTest, WhatIsNotSampledIsNotRecorded) {
  for (const Span& span : {tracer_.continue_trace("place", SpanKind::kServer, kUnsampled),
                           tracer_.begin_trace("request", SpanKind::kServer, kUnsampled),
                           tracer_.continue_trace("place", SpanKind::kServer, ""),
                           tracer_.continue_trace("place", SpanKind::kServer, "nonsense"),
                           Tracer().begin_trace("request", SpanKind::kServer, kParent)}) {
    EXPECT_FALSE(span.recorded());
    EXPECT_EQ(span.traceparent(), "");
  }
  EXPECT_EQ(buffer_->size(), 0U);
}

TEST_F(TracerTest, TheRatioIsOfRequestsWithoutATrace) {
  const auto shared = std::make_shared<SpanBuffer>(10'000);
  Tracer tracer(shared, 0.25, 3);
  for (int i = 0; i < 4000; ++i) (void)tracer.begin_trace("request", SpanKind::kServer, "");
  EXPECT_NEAR(static_cast<double>(shared->size()), 1000, 120);
  std::set<std::string> ids;
  for (const SpanData& span : shared->take(10'000)) ids.insert(span.context.trace_id);
  EXPECT_GT(ids.size(), 800U) << "each is another trace";
  Tracer none(shared, 0, 3);
  EXPECT_FALSE(none.begin_trace("request", SpanKind::kServer, "nonsense").recorded());
  EXPECT_TRUE(none.begin_trace("request", SpanKind::kServer, kParent).recorded()) << "who sends a trace wants it";
}

TEST(SpanBuffer, DropsWhatIsTooMuch) {
  SpanBuffer buffer(3);
  for (const char* name : {"1", "2", "3", "4", "5"}) buffer.push({.context = {}, .name = name});
  EXPECT_EQ(buffer.dropped(), 2U);
  EXPECT_THAT(buffer.take(2), SizeIs(2));
  buffer.push({.context = {}, .name = "6"});
  const std::vector<SpanData> rest = buffer.take(9);
  ASSERT_THAT(rest, SizeIs(2));
  EXPECT_EQ(rest[0].name, "3");
  EXPECT_EQ(rest[1].name, "6");
  EXPECT_EQ(buffer.dropped(), 2U);
}

}  // namespace
}  // namespace bellwether::mesh
