#include "autoscaler/queue_watch.h"

#include <algorithm>

#include "autoscaler/replica_watch.h"

namespace bellwether::autoscaler {

bool QueueWatch::apply(const v1::QueueState& state) {
  for (const std::string& name : {state.model(), state.scheduler_id()}) {
    if (name.empty() || name.size() > kNameBytesMax) return false;
  }
  const auto key = std::pair(state.model(), state.scheduler_id());
  if (queues_.size() >= kQueuesMax && !queues_.contains(key)) return false;
  Queue& queue = queues_[key];  // one that is new was empty before
  queue.waiting = state.waiting();
  queue.waiting_min = std::min(queue.waiting_min, state.waiting());
  queue.heard_at = clock_();
  return true;
}

uint32_t QueueWatch::observe(std::string_view model) {
  const mesh::TimePoint now = clock_();
  std::erase_if(queues_, [&](const auto& entry) { return now - entry.second.heard_at > kForgottenAfter; });
  uint64_t sum = 0;
  for (auto& [key, queue] : queues_) {
    if (key.first != model) continue;
    sum += queue.waiting_min;
    queue.waiting_min = queue.waiting;
  }
  return static_cast<uint32_t>(std::min<uint64_t>(sum, UINT32_MAX));
}

}  // namespace bellwether::autoscaler
