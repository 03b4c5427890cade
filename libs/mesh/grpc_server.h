// A service's gRPC server: grpc.health.v1.Health, for the probes of Kubernetes and other tools, and what the component
// adds. Hides gRPC's headers, which are slow to compile.
#pragma once

#include <chrono>
#include <memory>
#include <string>

namespace grpc {
class Service;
}

namespace bellwether::mesh {

// Serves until destroyed, on gRPC's own threads. add_service() and start() come first, on one thread; the other methods
// may be called from any.
class GrpcServer {
 public:
  // `address` is HOST:PORT; port 0 takes a free one. Throws Error{kInvalidArgument} when it is no address.
  explicit GrpcServer(const std::string& address);
  ~GrpcServer();
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  // REQUIRES: not started yet.
  void add_service(std::shared_ptr<grpc::Service> service);

  // Throws Error{kUnavailable} when the address cannot be had. REQUIRES: not started yet.
  void start();

  [[nodiscard]] const std::string& address() const;  // once started: bound, port 0 resolved

  // The status of the server as a whole (service ""); watchers are told of changes. NOT_SERVING at
  // first. Before the start it belongs to the starting thread.
  void set_serving(bool serving);

  // Ends all calls, watchers' too, waiting for at most `timeout`. May be called twice.
  void stop(std::chrono::milliseconds timeout);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bellwether::mesh
