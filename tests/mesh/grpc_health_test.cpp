#include "mesh/grpc_health.h"

#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "grpc/health/v1/health.grpc.pb.h"
#include "mesh/error.h"

namespace bellwether::mesh {
namespace {

using namespace std::chrono_literals;
using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using ::testing::HasSubstr;

// The status of `service`, or what went wrong.
grpc::Status check(const std::string& address, const std::string& service, HealthCheckResponse& response) {
  const auto stub = Health::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + 20s);
  HealthCheckRequest request;
  request.set_service(service);
  return stub->Check(&context, request, &response);
}

TEST(GrpcHealth, SaysWhetherItServes) {
  GrpcHealth health("127.0.0.1:0");
  HealthCheckResponse response;
  EXPECT_EQ(check(health.address(), "", response).error_message(), "");
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  health.set_serving(true);
  EXPECT_EQ(check(health.address(), "", response).error_message(), "");
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  EXPECT_EQ(check(health.address(), "unknown", response).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST(GrpcHealth, Stops) {
  GrpcHealth health("127.0.0.1:0");
  health.stop(100ms);
  health.stop(100ms);
  health.set_serving(true);
  HealthCheckResponse response;
  EXPECT_EQ(check(health.address(), "", response).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(GrpcHealth, SaysWhyItCannotListen) {
  const GrpcHealth first("127.0.0.1:0");
  try {
    const GrpcHealth second(first.address());
    FAIL() << "two servers on one address";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
    EXPECT_THAT(error.what(), HasSubstr(first.address()));
  }
  EXPECT_THROW(GrpcHealth("nonsense"), Error);
}

}  // namespace
}  // namespace bellwether::mesh
