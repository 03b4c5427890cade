#include "scheduler/tenant_work.h"

#include <algorithm>
#include <cmath>

namespace bellwether::scheduler {
namespace {

constexpr double kIdleBelow = 1;  // weighted tokens

}  // namespace

double TenantWork::Faded::now(mesh::TimePoint now) const {
  return tokens * std::exp2(-(std::chrono::duration<double>(now - at) / kHalfLife));
}

void TenantWork::read(std::string_view tenant, uint64_t tokens, mesh::TimePoint now) {
  add(tenant, static_cast<double>(tokens), now);
}

void TenantWork::written(std::string_view tenant, uint64_t tokens, mesh::TimePoint now) {
  add(tenant, kWrittenWeight * static_cast<double>(tokens), now);
}

void TenantWork::add(std::string_view tenant, double tokens, mesh::TimePoint now) {
  auto found = work_.find(tenant);
  if (found == work_.end()) {
    if (work_.size() >= kTenantsMax) {
      const auto least = std::min_element(work_.begin(), work_.end(), [&](const auto& a, const auto& b) {
        return a.second.now(now) < b.second.now(now);
      });
      total_ = {std::max(0.0, total_.now(now) - least->second.now(now)), now};
      work_.erase(least);
    }
    found = work_.try_emplace(std::string(tenant)).first;
  }
  found->second = {found->second.now(now) + tokens, now};
  total_ = {total_.now(now) + tokens, now};
}

double TenantWork::work(std::string_view tenant, mesh::TimePoint now) const {
  const auto found = work_.find(tenant);
  return found == work_.end() ? 0 : found->second.now(now);
}

double TenantWork::share(std::string_view tenant, mesh::TimePoint now) const {
  const double total = total_.now(now);
  return total < kIdleBelow ? 0 : work(tenant, now) * static_cast<double>(work_.size()) / total;
}

void TenantWork::forget_idle(mesh::TimePoint now) {
  std::erase_if(work_, [&](const auto& entry) { return entry.second.now(now) < kIdleBelow; });
  if (work_.empty()) total_ = {};
}

}  // namespace bellwether::scheduler
