// What the ranks of a replica do together. Every rank of a group makes the same calls in the same order with the same
// sizes; each returns when this rank has its result.
//
// Implementations: LocalCollective (one rank), UcxCollective (processes, over shared memory, TCP or RDMA). The place
// for NCCL is beside them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>

namespace bellwether::engine {

// Another rank is gone, does not advance, or the group was told to break up. The group cannot be used any more.
class GroupBroken : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// For one thread, but for abort(). All methods but the getters and abort() may throw GroupBroken.
class Collective {
 public:
  virtual ~Collective() = default;

  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int ranks() const = 0;

  // data becomes the sum of every rank's data, the same bits on every rank: each element is summed from rank 0 upwards,
  // whatever the size of the whole. For bfloat16 the sum is taken in float32 and rounded once, to nearest even.
  virtual void all_reduce(std::span<float> data) = 0;
  virtual void all_reduce_bf16(std::span<uint16_t> data) = 0;

  // out = every rank's `mine`, in order of rank. REQUIRES: out.size() == ranks() * mine.size(), the same on all ranks.
  virtual void all_gather(std::span<const std::byte> mine, std::span<std::byte> out) = 0;

  // Every rank's data becomes the root's. Others than the root may wait long for it, without using the CPU.
  virtual void broadcast(std::span<std::byte> data, int root) = 0;

  // Makes the call in progress, and every later one, throw GroupBroken. From any thread.
  virtual void abort() = 0;
};

}  // namespace bellwether::engine
