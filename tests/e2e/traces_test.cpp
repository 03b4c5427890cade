// One request's trace over all services of a mesh of real processes.
#include <gtest/gtest.h>

#include "e2e/http_client.h"
#include "e2e/mesh_process.h"
#include "e2e/reference.h"
#include "mesh/trace_collector.h"

namespace bellwether::e2e {
namespace {

TEST(Traces, GoThroughTheMesh) {
  testing::TraceCollector collector;
  MeshProcess mesh({}, {"BELLWETHER_OTLP_ENDPOINT=" + collector.url()});
  ASSERT_EQ(http_post(mesh.url() + "/v1/chat/completions", reference_cases()[0].request(false)).status, 200);
  const auto request = collector.wait_for("POST /v1/chat/completions");
  const auto place = collector.wait_for("place");
  const auto generate = collector.wait_for("generate");
  EXPECT_EQ(request.service, "bellwether-api-gateway");
  EXPECT_EQ(place.service, "bellwether-scheduler");
  EXPECT_EQ(generate.service, "bellwether-worker");
  EXPECT_EQ(place.trace_id, request.trace_id);
  EXPECT_EQ(generate.trace_id, request.trace_id);
  EXPECT_EQ(place.parent_span_id, request.span_id);
  EXPECT_EQ(generate.parent_span_id, place.span_id);
  EXPECT_LE(request.start_unix_ns, place.start_unix_ns);
  EXPECT_LE(place.start_unix_ns, generate.start_unix_ns);
  EXPECT_LE(generate.end_unix_ns, request.end_unix_ns + 1'000'000'000);
  EXPECT_EQ(generate.attributes.at("gen_ai.usage.output_tokens"), "73");
  EXPECT_EQ(request.attributes.at("gen_ai.usage.output_tokens"), "73");
  EXPECT_EQ(place.attributes.at("bellwether.replica_id"), generate.attributes.at("bellwether.replica_id"));
}

}  // namespace
}  // namespace bellwether::e2e
