#include "worker/request_table.h"

#include <algorithm>

namespace bellwether::worker {

Acquaintance RequestTable::compare(const std::string& request_id, uint32_t attempt) const {
  const auto running = by_request_id_.find(request_id);
  if (running != by_request_id_.end()) {
    const uint32_t current = live_.at(running->second).attempt;
    if (attempt == current) return Acquaintance::kSame;
    return attempt > current ? Acquaintance::kNewer : Acquaintance::kOutdated;
  }
  const auto ended = ended_.find(request_id);
  if (ended == ended_.end() || attempt > ended->second) return Acquaintance::kUnknown;
  return attempt == ended->second ? Acquaintance::kSame : Acquaintance::kOutdated;
}

LiveRequest& RequestTable::add(const v1::GenerateRequest& request, engine::SequenceId sequence, mesh::TimePoint now) {
  by_request_id_[request.request_id()] = sequence;
  LiveRequest& live = live_[sequence];
  live.request_id = request.request_id();
  live.attempt = request.attempt();
  live.gateway_id = request.gateway_id();
  live.sequence = sequence;
  live.prompt_tokens = request.prompt_ids_size();
  live.output_tokens_given = request.output_ids_size();
  live.output_tokens = live.output_tokens_given;
  live.arrived = now;
  return live;
}

LiveRequest* RequestTable::find(engine::SequenceId sequence) {
  const auto found = live_.find(sequence);
  return found == live_.end() ? nullptr : &found->second;
}

LiveRequest* RequestTable::find(const std::string& request_id) {
  const auto found = by_request_id_.find(request_id);
  return found == by_request_id_.end() ? nullptr : find(found->second);
}

void RequestTable::mark_cancelled(LiveRequest& request) {
  if (request.cancelled) return;
  request.cancelled = true;
  by_request_id_.erase(request.request_id);
  remember(request.request_id, request.attempt);
}

void RequestTable::remove(engine::SequenceId sequence) {
  const auto found = live_.find(sequence);
  if (found == live_.end()) return;
  mark_cancelled(found->second);
  live_.erase(found);
}

void RequestTable::remember(const std::string& request_id, uint32_t attempt) {
  const auto [entry, added] = ended_.try_emplace(request_id, attempt);
  entry->second = std::max(entry->second, attempt);
  if (!added) return;
  ended_order_.push_back(request_id);
  if (ended_order_.size() > kEndedMax) {
    ended_.erase(ended_order_.front());
    ended_order_.pop_front();
  }
}

std::vector<engine::SequenceId> RequestTable::sequences() const {
  std::vector<engine::SequenceId> sequences;
  sequences.reserve(live_.size());
  for (const auto& [sequence, request] : live_) sequences.push_back(sequence);
  std::sort(sequences.begin(), sequences.end());  // ids count up
  return sequences;
}

}  // namespace bellwether::worker
