#include "autoscaler/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace bellwether::autoscaler {
namespace {

using Reasons = std::vector<std::string>;

// Rounding errors must neither cost a replica nor leave the tolerance.
constexpr double kRounding = 1e-6;

double seconds(std::chrono::milliseconds time) {
  return std::chrono::duration<double>(time).count();
}

std::string replicas(uint32_t count) {
  return fmt::format("{} replica{}", count, count == 1 ? "" : "s");
}

// The load in units of one full replica.
double load_of(const Observation& seen, Reasons& reasons) {
  double sum = 0;
  uint32_t raised = 0;
  for (const HeadUse& head : seen.heads) {
    const bool full = head.waited_throughout || seen.queued > 0;
    sum += full ? std::max(head.kv_use, 1.0) : head.kv_use;
    if (full && head.kv_use < 1) ++raised;
  }
  if (seen.queued > 0) {
    reasons.push_back(fmt::format("{} requests queued: all replicas counted as full", seen.queued));
  } else if (raised > 0)
    reasons.push_back(fmt::format("requests keep waiting at {}: counted as full", replicas(raised)));
  return sum;
}

// With at least one replica heard.
uint32_t recommend_from_use(const Observation& seen, const Policy& policy, Reasons& reasons) {
  const double load = load_of(seen, reasons);
  const double wanted_exact = load / policy.kv_use_target;
  // More than the maximum is as good as one more than it.
  const double limit = static_cast<double>(policy.replicas_max) + 1;
  const auto wanted = static_cast<uint32_t>(std::min(limit, std::ceil(wanted_exact - kRounding)));
  reasons.push_back(fmt::format("{} of {} ready heard, mean use {:.2f}, target {:.2f}: {:.2f} wanted",
                                seen.heads.size(), replicas(seen.ready()),
                                load / static_cast<double>(seen.heads.size()), policy.kv_use_target, wanted_exact));
  const uint32_t total = seen.total();
  if (std::abs(wanted_exact / total - 1) <= policy.tolerance + kRounding) {
    reasons.push_back(fmt::format("within the tolerance of {:.2f} of the {} there are", policy.tolerance, total));
    return total;
  }
  if (wanted < total && seen.silent > 0) {
    reasons.push_back(fmt::format("{} silent: not lowered", replicas(seen.silent)));
    return total;
  }
  if (wanted > seen.ready() && wanted <= total) {
    reasons.push_back(fmt::format("covered by {} pending", replicas(seen.pending)));
  }
  return wanted;
}

uint32_t recommend(const Observation& seen, const Policy& policy, uint32_t current, Reasons& reasons) {
  if (!seen.heads.empty()) return recommend_from_use(seen, policy, reasons);
  if (seen.silent > 0) {
    reasons.push_back(fmt::format("none of {} ready heard lately: nothing is concluded", replicas(seen.silent)));
    return current;
  }
  if (seen.pending > 0) {
    reasons.push_back(fmt::format("{} pending, none ready: waiting", replicas(seen.pending)));
    return current;
  }
  if (seen.queued > 0) {
    reasons.push_back(fmt::format("{} requests queued and no replica is there", seen.queued));
    return std::max(policy.replicas_min, 1U);
  }
  reasons.push_back("no replica is there");
  return policy.replicas_min;
}

uint32_t stabilise(const Observation& seen, const Policy& policy, const History& history, uint32_t current,
                   uint32_t recommended, Reasons& reasons) {
  if (recommended > current) {
    const uint32_t allowed = std::max(current, history.range(seen, policy.scale_up_window, recommended).lowest);
    if (allowed < recommended) {
      reasons.push_back(fmt::format("raised to {} for now: not {} throughout the last {:g} s", allowed, recommended,
                                    seconds(policy.scale_up_window)));
    }
    return allowed;
  }
  const uint32_t needed = std::min(current, history.range(seen, policy.scale_down_window, recommended).highest);
  if (needed > recommended) {
    reasons.push_back(fmt::format("kept at {} for now: not {} throughout the last {:g} s", needed, recommended,
                                  seconds(policy.scale_down_window)));
  }
  return needed;
}

uint32_t bound(uint32_t desired, const Policy& policy, Reasons& reasons) {
  if (desired < policy.replicas_min) {
    reasons.push_back(fmt::format("raised to the minimum of {}", policy.replicas_min));
    return policy.replicas_min;
  }
  if (desired > policy.replicas_max) {
    reasons.push_back(fmt::format("limited to the maximum of {}", policy.replicas_max));
    return policy.replicas_max;
  }
  return desired;
}

}  // namespace

Decision decide(const Observation& seen, const Policy& policy, const History& history) {
  Decision decision;
  const uint32_t current = history.desired().value_or(seen.total());
  if (!seen.heads.empty()) {
    double sum = 0;
    for (const HeadUse& head : seen.heads) sum += head.kv_use;
    decision.kv_use_mean = sum / static_cast<double>(seen.heads.size());
  }
  decision.recommended = recommend(seen, policy, current, decision.reasons);
  const uint32_t steady = stabilise(seen, policy, history, current, decision.recommended, decision.reasons);
  decision.desired = bound(steady, policy, decision.reasons);
  return decision;
}

void History::record(const Observation& seen, const Decision& decision, std::chrono::milliseconds window) {
  if (!desired_) recommendations_.push_back({seen.at, seen.total()});
  recommendations_.push_back({seen.at, decision.recommended});
  desired_ = decision.desired;
  while (seen.at - recommendations_.front().at > window) recommendations_.pop_front();
}

History::Range History::range(const Observation& seen, std::chrono::milliseconds window, uint32_t recommended) const {
  Range range{recommended, recommended};
  const auto include = [&](uint32_t replicas) {
    range.lowest = std::min(range.lowest, replicas);
    range.highest = std::max(range.highest, replicas);
  };
  if (!desired_ && window.count() > 0) include(seen.total());
  for (auto it = recommendations_.rbegin(); it != recommendations_.rend() && seen.at - it->at < window; ++it) {
    include(it->replicas);
  }
  return range;
}

}  // namespace bellwether::autoscaler
