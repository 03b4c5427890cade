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

LiveRequest& RequestTable::add(const v1::GenerateRequest& request, engine::SequenceId first_sequence,
                               mesh::TimePoint now) {
  by_request_id_[request.request_id()] = first_sequence;
  LiveRequest& live = live_[first_sequence];
  live.request_id = request.request_id();
  live.attempt = request.attempt();
  live.gateway_id = request.gateway_id();
  live.tenant = request.tenant();
  live.prompt_tokens = request.prompt_ids_size();
  live.arrived = now;
  engine::SequenceId sequence = first_sequence;
  for (const v1::Choice& choice : request.choices()) {
    live.choices.push_back({.index = choice.index(),
                            .sequence = sequence,
                            .output_tokens_given = choice.output_ids_size(),
                            .output_tokens = choice.output_ids_size()});
    by_sequence_[sequence++] = first_sequence;
  }
  live.choices_taken = live.choices.size();
  return live;
}

LiveSequence RequestTable::find(engine::SequenceId sequence) {
  const auto found = by_sequence_.find(sequence);
  if (found == by_sequence_.end()) return {};
  LiveRequest& request = live_.at(found->second);
  const auto choice = std::find_if(request.choices.begin(), request.choices.end(),
                                   [&](const LiveChoice& each) { return each.sequence == sequence; });
  return {&request, &*choice};
}

LiveRequest* RequestTable::find(const std::string& request_id) {
  const auto found = by_request_id_.find(request_id);
  return found == by_request_id_.end() ? nullptr : &live_.at(found->second);
}

void RequestTable::mark_cancelled(LiveRequest& request) {
  if (request.cancelled) return;
  request.cancelled = true;
  for (LiveChoice& choice : request.choices) choice.cancelled = true;
  by_request_id_.erase(request.request_id);
  remember(request.request_id, request.attempt);
}

void RequestTable::remove(engine::SequenceId sequence) {
  const auto found = by_sequence_.find(sequence);
  if (found == by_sequence_.end()) return;
  const Key key = found->second;
  by_sequence_.erase(found);
  LiveRequest& request = live_.at(key);
  std::erase_if(request.choices, [&](const LiveChoice& choice) { return choice.sequence == sequence; });
  if (!request.choices.empty()) return;
  mark_cancelled(request);
  live_.erase(key);
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
  sequences.reserve(by_sequence_.size());
  for (const auto& [sequence, key] : by_sequence_) sequences.push_back(sequence);
  std::sort(sequences.begin(), sequences.end());  // ids count up
  return sequences;
}

}  // namespace bellwether::worker
