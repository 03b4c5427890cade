#include "scheduler/placement.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include "engine/mix.h"

namespace bellwether::scheduler {
namespace {

// Of heads when none has been measured.
constexpr double kPrefillRateUnknown = 2000;
constexpr double kDecodeRateUnknown = 200;

struct Named {
  std::string_view name;
  Strategy strategy;
};

constexpr std::array kStrategies = {
    Named{"prefix-cache", place_prefix_cache},
    Named{"least-request", place_least_request},
    Named{"least-kv-cache", place_least_kv_cache},
    Named{"least-latency", place_least_latency},
    Named{"throughput", place_throughput},
    Named{"power-of-two", place_power_of_two},
    Named{"session-affinity", place_session_affinity},
    Named{"fair", place_fair},
    Named{"random", place_random},
    Named{"round-robin", place_round_robin},
};

// What AIBrix calls a strategy that does what one of ours does.
constexpr std::array kAliases = {
    Named{"prefix-cache-preble", place_prefix_cache},     Named{"vtc-basic", place_fair},
    Named{"least-gpu-cache", place_least_kv_cache},       Named{"least-busy-time", place_throughput},
    Named{"least-utilization", place_throughput},         Named{"slo", place_least_latency},
    Named{"slo-least-load", place_least_latency},         Named{"slo-pack-load", place_least_latency},
    Named{"slo-least-load-pulling", place_least_latency},
};

// The eligible head of least cost, which the order of ties makes unique.
template <class Cost>
size_t least(const PlacementView& view, Cost cost) {
  const auto full_cost = [&](size_t index) {
    const ReplicaView& head = view.heads[index];
    return std::tuple(cost(head), head.requests_own, view.order.position(index, view.heads.size()));
  };
  size_t best = view.eligible.front();
  auto best_cost = full_cost(best);
  for (const size_t index : view.eligible.subspan(1)) {
    auto other = full_cost(index);
    if (other < best_cost) {
      best = index;
      best_cost = std::move(other);
    }
  }
  return best;
}

double tokens_to_read(const ReplicaView& head, const PlacementRequest& request) {
  return static_cast<double>(request.prompt_tokens - std::min(request.prompt_tokens, head.cached_tokens));
}

// Seconds, rounded so that what measurements cannot tell apart is a tie.
double work_seconds(const ReplicaView& head, double read_tokens, double written_tokens) {
  const double seconds =
      (static_cast<double>(head.prefill_tokens) + kOwnReadWeight * read_tokens) / head.prefill_tokens_per_s +
      kDecodeWeight * (static_cast<double>(head.decode_tokens) + written_tokens) / head.decode_tokens_per_s;
  return std::round(seconds * 1000) / 1000;
}

double work_seconds(const ReplicaView& head, const PlacementRequest& request) {
  return work_seconds(head, tokens_to_read(head, request), static_cast<double>(request.output_tokens));
}

int kv_tenths(const ReplicaView& head) {
  return static_cast<int>(head.kv_use * 10);
}

uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char byte : text) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  return hash;
}

}  // namespace

size_t TieOrder::position(size_t index, size_t heads) const {
  const size_t pairs = (schedulers + 1) / 2;
  const size_t start = rank / 2 * heads / pairs;
  const bool ascending = rank % 2 == 0;
  return ascending ? (index + heads - start) % heads : (start + heads - 1 - index) % heads;
}

size_t place_random(const PlacementView& view) {
  return view.eligible[view.random % view.eligible.size()];
}

size_t place_round_robin(const PlacementView& view) {
  return view
      .eligible[(view.turn + view.order.rank * view.eligible.size() / view.order.schedulers) % view.eligible.size()];
}

size_t place_least_request(const PlacementView& view) {
  return least(view, [](const ReplicaView& head) { return std::pair(head.requests, kv_tenths(head)); });
}

size_t place_least_kv_cache(const PlacementView& view) {
  return least(view,
               [](const ReplicaView& head) { return std::pair(static_cast<int>(head.kv_use * 100), head.requests); });
}

size_t place_least_latency(const PlacementView& view) {
  return least(view, [&](const ReplicaView& head) {
    const double first_token =
        (static_cast<double>(head.prefill_tokens) + tokens_to_read(head, view.request)) / head.prefill_tokens_per_s;
    const double writers = static_cast<double>(head.requests) + 1;
    const double rest = static_cast<double>(view.request.output_tokens) * writers / head.decode_tokens_per_s;
    return std::round((first_token + rest) * 1000) / 1000;
  });
}

size_t place_throughput(const PlacementView& view) {
  return least(view, [](const ReplicaView& head) {
    return static_cast<double>(head.prefill_tokens) / head.prefill_tokens_per_s +
           static_cast<double>(head.decode_tokens) / head.decode_tokens_per_s;
  });
}

size_t place_power_of_two(const PlacementView& view) {
  const size_t count = view.eligible.size();
  if (count == 1) return view.eligible.front();
  const size_t first = view.random % count;
  const size_t second = (first + 1 + (view.random >> 32) % (count - 1)) % count;
  const size_t a = view.eligible[first];
  const size_t b = view.eligible[second];
  return view.heads[b].requests < view.heads[a].requests ? b : a;
}

size_t place_prefix_cache(const PlacementView& view) {
  return least(view, [&](const ReplicaView& head) {
    return std::tuple(work_seconds(head, view.request), head.requests, kv_tenths(head));
  });
}

size_t place_session_affinity(const PlacementView& view) {
  if (view.request.session_id.empty()) return place_prefix_cache(view);
  const uint64_t session = hash_of(view.request.session_id);
  const auto weight = [&](size_t index) { return engine::mix(session ^ hash_of(view.heads[index].replica_id)); };
  return *std::max_element(view.eligible.begin(), view.eligible.end(),
                           [&](size_t a, size_t b) { return weight(a) < weight(b); });
}

size_t place_fair(const PlacementView& view) {
  const double above = std::max(0.0, view.request.tenant_share - 1);
  return least(view, [&](const ReplicaView& head) {
    const double all = work_seconds(head, view.request);
    const auto tokens = static_cast<double>(head.prefill_tokens + head.decode_tokens);
    const double others = tokens <= 0 ? 0 : 1 - std::min(1.0, static_cast<double>(head.tenant_tokens) / tokens);
    return std::pair(all + above * others * work_seconds(head, 0, 0), head.requests);
  });
}

std::optional<Strategy> find_strategy(std::string_view name) {
  const auto has_name = [&](const Named& each) { return each.name == name; };
  if (const auto* found = std::find_if(kStrategies.begin(), kStrategies.end(), has_name); found != kStrategies.end()) {
    return found->strategy;
  }
  const auto* alias = std::find_if(kAliases.begin(), kAliases.end(), has_name);
  return alias == kAliases.end() ? std::nullopt : std::optional(alias->strategy);
}

std::vector<std::string> strategy_names() {
  std::vector<std::string> names;
  for (const Named& each : kStrategies) names.emplace_back(each.name);
  return names;
}

void assume_rates(std::span<ReplicaView> heads) {
  const auto assume = [&](double ReplicaView::* rate, double unknown) {
    double sum = 0;
    double measured = 0;
    for (const ReplicaView& head : heads) {
      sum += head.*rate;
      measured += head.*rate > 0 ? 1 : 0;
    }
    for (ReplicaView& head : heads) {
      if (head.*rate <= 0) head.*rate = measured > 0 ? sum / measured : unknown;
    }
  };
  assume(&ReplicaView::prefill_tokens_per_s, kPrefillRateUnknown);
  assume(&ReplicaView::decode_tokens_per_s, kDecodeRateUnknown);
}

std::vector<size_t> eligible_heads(std::span<const ReplicaView> heads, std::span<const std::string> excluded) {
  double warm = 0;
  double warm_requests = 0;
  for (const ReplicaView& head : heads) {
    if (head.ramp < 1) continue;
    ++warm;
    warm_requests += static_cast<double>(head.requests);
  }
  const double mean = warm == 0 ? std::numeric_limits<double>::infinity() : warm_requests / warm;
  std::vector<size_t> eligible;
  std::vector<size_t> warming;
  eligible.reserve(heads.size());
  for (size_t i = 0; i < heads.size(); ++i) {
    const ReplicaView& head = heads[i];
    if (head.open || head.requests >= head.requests_max) continue;
    if (std::find(excluded.begin(), excluded.end(), head.replica_id) != excluded.end()) continue;
    const bool has_its_part = head.ramp < 1 && static_cast<double>(head.requests) >= std::ceil(head.ramp * (mean + 1));
    (has_its_part ? warming : eligible).push_back(i);
  }
  return eligible.empty() ? warming : eligible;
}

}  // namespace bellwether::scheduler
