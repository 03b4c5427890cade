// The collectives of processes, over UCX: shared memory on one host, TCP or RDMA between hosts (UCX_TLS and
// UCX_NET_DEVICES choose among what there is).
//
// To form a group, each process makes an UcxEndpoint, all learn all addresses by other means, and all call
// UcxCollective::connect. A group that is broken or ended cannot be joined again: the next one has new endpoints.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>

#include "engine/ranks/collective.h"

namespace bellwether::engine {

class UcxEndpoint {
 public:
  // Throws GroupBroken when UCX finds nothing to communicate by.
  UcxEndpoint();
  ~UcxEndpoint();
  UcxEndpoint(UcxEndpoint&&) noexcept;
  UcxEndpoint& operator=(UcxEndpoint&&) = delete;

  // What the other ranks need, as opaque bytes; some hundred. They trust each other's: UCX does not check it.
  [[nodiscard]] const std::string& address() const;

 private:
  friend class UcxCollective;
  class Impl;
  std::unique_ptr<Impl> impl_;
};

struct UcxLimits {
  std::chrono::milliseconds connect{10'000};  // until every rank has connected
  std::chrono::milliseconds progress{1'000};  // waiting for another rank; not in broadcast, where the root may idle
};

class UcxCollective final : public Collective {
 public:
  // Returns when all ranks have connected to all. addresses: of every rank's endpoint, in order of rank, this one's
  // included. Throws GroupBroken.
  static std::unique_ptr<UcxCollective> connect(UcxEndpoint endpoint, int rank, std::span<const std::string> addresses,
                                                const UcxLimits& limits = {});
  ~UcxCollective() override;

  [[nodiscard]] int rank() const override;
  [[nodiscard]] int ranks() const override;
  void all_reduce(std::span<float> data) override;
  void all_reduce_bf16(std::span<uint16_t> data) override;
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> out) override;
  void broadcast(std::span<std::byte> data, int root) override;
  void abort() override;

  // The transports in use to the other ranks, for people: "posix/memory cma/memory".
  [[nodiscard]] std::string transports() const;

 private:
  class Impl;
  explicit UcxCollective(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace bellwether::engine
