// How much work each tenant has been given lately: virtual token counters (Sheng et al., "Fairness in Serving Large
// Language Models", OSDI 2024) that fade, so that who was idle catches up for a minute and not for a day.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include "mesh/clock.h"

namespace bellwether::scheduler {

// Not thread-safe.
class TenantWork {
 public:
  static constexpr std::chrono::seconds kHalfLife{30};
  static constexpr size_t kTenantsMax = 4096;  // those of least work are forgotten beyond
  // A token that is written takes about as much of the machine as two that are read.
  static constexpr double kWrittenWeight = 2;

  void read(std::string_view tenant, uint64_t tokens, mesh::TimePoint now);
  void written(std::string_view tenant, uint64_t tokens, mesh::TimePoint now);

  // In weighted tokens.
  [[nodiscard]] double work(std::string_view tenant, mesh::TimePoint now) const;
  // Its work, divided by an equal share of all the work of tenants that had any; 0 when there was none.
  [[nodiscard]] double share(std::string_view tenant, mesh::TimePoint now) const;

  // Forgets tenants that have no work left to speak of.
  void forget_idle(mesh::TimePoint now);
  [[nodiscard]] size_t tenants() const { return work_.size(); }

 private:
  struct Faded {
    double tokens = 0;
    mesh::TimePoint at;
    [[nodiscard]] double now(mesh::TimePoint now) const;
  };

  void add(std::string_view tenant, double tokens, mesh::TimePoint now);

  std::map<std::string, Faded, std::less<>> work_;
  Faded total_;
};

}  // namespace bellwether::scheduler
