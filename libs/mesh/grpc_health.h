// grpc.health.v1.Health, for the probes of Kubernetes and other tools. Hides gRPC's headers, which are slow to compile.
#pragma once

#include <chrono>
#include <memory>
#include <string>

namespace bellwether::mesh {

// Serves until destroyed, on gRPC's own threads. Methods may be called from any thread.
class GrpcHealth {
 public:
  // `address` is HOST:PORT; port 0 takes a free one. NOT_SERVING at first. Throws Error: kInvalidArgument
  // when it is no address, kUnavailable when it cannot be had.
  explicit GrpcHealth(const std::string& address);
  ~GrpcHealth();
  GrpcHealth(const GrpcHealth&) = delete;
  GrpcHealth& operator=(const GrpcHealth&) = delete;

  [[nodiscard]] const std::string& address() const;  // bound, port 0 resolved

  // The status of the server as a whole (service ""); watchers are told of changes.
  void set_serving(bool serving);

  // Ends all calls, watchers' too, waiting for at most `timeout`. May be called twice.
  void stop(std::chrono::milliseconds timeout);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bellwether::mesh
