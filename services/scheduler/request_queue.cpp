#include "scheduler/request_queue.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace bellwether::scheduler {

RequestQueue::Outcome RequestQueue::push(WaitingRequest&& waiting, std::vector<WaitingRequest>& driven_out) {
  const std::string& tenant = waiting.candidate.tenant;
  const auto of_tenant = by_tenant_.find(tenant);
  if (!tenant.empty() && of_tenant != by_tenant_.end() && of_tenant->second >= options_.requests_max_of_tenant) {
    return Outcome::kTenantFull;
  }
  waiting.bytes = waiting.request.ByteSizeLong() + waiting.candidate.block_hashes.size() * sizeof(uint64_t);
  while (size() >= options_.requests_max || bytes_ + waiting.bytes > options_.bytes_max) {
    const auto line = lines_.find(waiting.candidate.model);
    if (line == lines_.end()) return Outcome::kFull;
    const auto last = last_of(line->second);
    if (last->request.priority() <= waiting.request.priority()) return Outcome::kFull;
    driven_out.push_back(take(line->second, last));
  }
  add(std::move(waiting));
  return Outcome::kQueued;
}

void RequestQueue::add(WaitingRequest&& waiting) {
  Line& line = lines_[waiting.candidate.model];
  const auto before =
      std::find_if(line.rbegin(), line.rend(), [&](const auto& each) { return each.since <= waiting.since; });
  bytes_ += waiting.bytes;
  ++by_tenant_[waiting.candidate.tenant];
  const RequestKey key = waiting.candidate.key;
  by_key_[key] = line.insert(before.base(), std::move(waiting));
}

// Orders requests, smallest first. Work fades while it is asked for, so each tenant's is asked for once.
class RequestQueue::Ranking {
 public:
  using Rank = std::tuple<int32_t, double, mesh::TimePoint>;

  explicit Ranking(const Work& work) : work_(work) {}

  Rank operator()(const WaitingRequest& waiting) {
    const auto [found, added] = of_tenant_.try_emplace(waiting.candidate.tenant);
    if (added) found->second = work_(waiting.candidate.tenant);
    return {waiting.request.priority(), found->second, waiting.since};
  }

 private:
  const Work& work_;
  std::unordered_map<std::string_view, double> of_tenant_;
};

WaitingRequest* RequestQueue::first(std::string_view model) {
  const auto line = lines_.find(model);
  if (line == lines_.end()) return nullptr;
  WaitingRequest* best = nullptr;
  Ranking rank(work_);
  Ranking::Rank best_rank;
  for (WaitingRequest& each : line->second) {
    if (!each.poll) continue;
    const Ranking::Rank other = rank(each);
    if (best != nullptr && best_rank <= other) continue;
    best = &each;
    best_rank = other;
  }
  return best;
}

std::vector<WaitingRequest*> RequestQueue::in_order(std::string_view model) {
  const auto line = lines_.find(model);
  if (line == lines_.end()) return {};
  std::vector<WaitingRequest*> arrived;
  Ranking rank(work_);
  std::vector<std::pair<Ranking::Rank, size_t>> ranked;
  for (WaitingRequest& each : line->second) {
    ranked.emplace_back(rank(each), arrived.size());
    arrived.push_back(&each);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<WaitingRequest*> ordered;
  for (const auto& each : ranked) ordered.push_back(arrived[each.second]);
  return ordered;
}

bool RequestQueue::anyone_before(std::string_view model, int32_t priority) const {
  const auto line = lines_.find(model);
  return line != lines_.end() && std::any_of(line->second.begin(), line->second.end(),
                                             [&](const auto& each) { return each.request.priority() <= priority; });
}

const WaitingRequest* RequestQueue::find(const RequestKey& key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : &*found->second;
}

WaitingRequest* RequestQueue::find(const RequestKey& key) {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : &*found->second;
}

WaitingRequest RequestQueue::take(const RequestKey& key) {
  const auto found = by_key_.at(key);
  return take(lines_.find(found->candidate.model)->second, found);
}

WaitingRequest RequestQueue::take(Line& line, Line::iterator waiting) {
  WaitingRequest taken = std::move(*waiting);
  line.erase(waiting);
  by_key_.erase(taken.candidate.key);
  bytes_ -= taken.bytes;
  if (line.empty()) lines_.erase(taken.candidate.model);
  const auto of_tenant = by_tenant_.find(taken.candidate.tenant);
  if (--of_tenant->second == 0) by_tenant_.erase(of_tenant);
  return taken;
}

void RequestQueue::drop_older(const RequestKey& key) {
  std::vector<RequestKey> older;
  for (const auto& [known, waiting] : by_key_) {
    if (known.request_id == key.request_id && known.attempt < key.attempt) older.push_back(known);
  }
  for (const RequestKey& each : older) take(each);
}

// Who would be the last to be served, but for tenants: it is a class that drives out another.
RequestQueue::Line::iterator RequestQueue::last_of(Line& line) const {
  return std::max_element(line.begin(), line.end(), [](const auto& a, const auto& b) {
    return std::pair(a.request.priority(), a.since) < std::pair(b.request.priority(), b.since);
  });
}

std::vector<WaitingRequest> RequestQueue::take_overdue(mesh::TimePoint now) {
  std::vector<RequestKey> overdue;
  for (const auto& [key, waiting] : by_key_) {
    const bool abandoned = !waiting->poll && now - waiting->polled_at > kPollDeadline;
    if (abandoned || now >= waiting->deadline) overdue.push_back(key);
  }
  std::vector<WaitingRequest> taken;
  for (const RequestKey& key : overdue) taken.push_back(take(key));
  return taken;
}

std::vector<WaitingRequest> RequestQueue::take_all(std::string_view model) {
  std::vector<WaitingRequest> taken;
  for (auto line = lines_.find(model); line != lines_.end(); line = lines_.find(model)) {
    taken.push_back(take(line->second, line->second.begin()));
  }
  return taken;
}

std::vector<std::string> RequestQueue::models() const {
  std::vector<std::string> names;
  for (const auto& [model, line] : lines_) names.push_back(model);
  return names;
}

size_t RequestQueue::size(std::string_view model) const {
  const auto line = lines_.find(model);
  return line == lines_.end() ? 0 : line->second.size();
}

std::optional<mesh::TimePoint> RequestQueue::oldest(std::string_view model) const {
  const auto line = lines_.find(model);
  return line == lines_.end() ? std::nullopt : std::optional(line->second.front().since);
}

}  // namespace bellwether::scheduler
