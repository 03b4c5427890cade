#include "mesh/grpc_server.h"

#include <fmt/format.h>
#include <grpc/support/log.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <utility>
#include <vector>

#include "mesh/address.h"
#include "mesh/error.h"
#include "mesh/log.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
// Debian's gRPC and its Abseil are not built for ThreadSanitizer, which therefore does not see how their threads keep
// order among themselves.
extern "C" const char* __tsan_default_suppressions() {
  return "race:libgrpc\nrace:libgpr\nrace:libabsl\n";
}
#endif
#endif

namespace bellwether::mesh {
namespace {

constexpr int kMessageBytesMax = 64 * 1024;  // what is sent here is small
constexpr int kThreadsMax = 8;
constexpr std::chrono::milliseconds kStopTimeMax{1000};

// gRPC writes lines of its own to standard error otherwise.
void log_as_we_do(gpr_log_func_args* line) {
  const bool error = line->severity == GPR_LOG_SEVERITY_ERROR;
  log::write(error ? log::Level::kWarning : log::Level::kDebug, "grpc", {{"message", line->message}});
}

}  // namespace

class GrpcServer::Impl {
 public:
  explicit Impl(const std::string& address) : address_(address) { static_cast<void>(parse_address(address)); }

  ~Impl() { stop(kStopTimeMax); }

  void start() {
    gpr_set_log_function(log_as_we_do);
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ResourceQuota quota("service");
    quota.SetMaxThreads(kThreadsMax);
    grpc::ServerBuilder builder;
    builder.SetResourceQuota(quota);
    builder.SetMaxReceiveMessageSize(kMessageBytesMax);
    // Otherwise a second server could take the same port unnoticed.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.RegisterCallbackGenericService(&unknown_methods_);
    for (const auto& service : services_) builder.RegisterService(service.get());
    int port = 0;
    builder.AddListeningPort(address_, grpc::InsecureServerCredentials(), &port);
    server_ = builder.BuildAndStart();
    if (!server_ || port == 0) throw Error(ErrorCode::kUnavailable, fmt::format("cannot serve gRPC on {}", address_));
    server_->GetHealthCheckService()->SetServingStatus(serving_);
    Address bound = parse_address(address_);
    bound.port = static_cast<uint16_t>(port);
    address_ = to_string(bound);
  }

  void stop(std::chrono::milliseconds timeout) {
    if (server_) server_->Shutdown(std::chrono::system_clock::now() + timeout);
    server_.reset();
  }

  // Answers UNIMPLEMENTED; a server without any service of its own would not start.
  grpc::CallbackGenericService unknown_methods_;
  std::vector<std::shared_ptr<grpc::Service>> services_;
  std::unique_ptr<grpc::Server> server_;
  bool serving_ = false;  // before the start
  std::string address_;
};

GrpcServer::GrpcServer(const std::string& address) : impl_(std::make_unique<Impl>(address)) {}
GrpcServer::~GrpcServer() = default;

void GrpcServer::add_service(std::shared_ptr<grpc::Service> service) {
  impl_->services_.push_back(std::move(service));
}

void GrpcServer::start() {
  impl_->start();
}

const std::string& GrpcServer::address() const {
  return impl_->address_;
}

void GrpcServer::set_serving(bool serving) {
  if (impl_->server_) {
    impl_->server_->GetHealthCheckService()->SetServingStatus(serving);
  } else {
    impl_->serving_ = serving;
  }
}

void GrpcServer::stop(std::chrono::milliseconds timeout) {
  impl_->stop(timeout);
}

}  // namespace bellwether::mesh
