#include "mesh/grpc_server.h"

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

TEST(GrpcServer, SaysWhetherItServes) {
  GrpcServer server("127.0.0.1:0");
  server.start();
  HealthCheckResponse response;
  EXPECT_EQ(check(server.address(), "", response).error_message(), "");
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  server.set_serving(true);
  EXPECT_EQ(check(server.address(), "", response).error_message(), "");
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  EXPECT_EQ(check(server.address(), "unknown", response).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST(GrpcServer, Stops) {
  GrpcServer server("127.0.0.1:0");
  server.start();
  server.stop(100ms);
  server.stop(100ms);
  server.set_serving(true);
  HealthCheckResponse response;
  EXPECT_EQ(check(server.address(), "", response).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(GrpcServer, SaysWhyItCannotListen) {
  GrpcServer first("127.0.0.1:0");
  first.start();
  GrpcServer second(first.address());
  try {
    second.start();
    FAIL() << "two servers on one address";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
    EXPECT_THAT(error.what(), HasSubstr(first.address()));
  }
  EXPECT_THROW(GrpcServer("nonsense"), Error);
}

}  // namespace
}  // namespace bellwether::mesh
