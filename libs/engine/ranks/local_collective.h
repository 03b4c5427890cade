// The group of one rank.
#pragma once

#include <algorithm>

#include "engine/ranks/collective.h"

namespace bellwether::engine {

class LocalCollective final : public Collective {
 public:
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int ranks() const override { return 1; }
  void all_reduce(std::span<float>) override {}
  void all_reduce_bf16(std::span<uint16_t>) override {}
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> out) override {
    std::ranges::copy(mine, out.begin());
  }
  void broadcast(std::span<std::byte>, int) override {}
  void abort() override {}  // no call waits
};

}  // namespace bellwether::engine
