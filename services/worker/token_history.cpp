#include "worker/token_history.h"

#include <fmt/format.h>

namespace bellwether::worker {
namespace {

std::string key_of(const std::string& request_id, uint32_t attempt) {
  return fmt::format("{}#{}", request_id, attempt);
}

uint32_t end_of(const v1::TokenEvent& event) {
  return event.first_index() + static_cast<uint32_t>(event.ids_size());
}

}  // namespace

void TokenHistory::add(const v1::TokenEvent& event) {
  auto& attempt = *attempts_.try_emplace(key_of(event.request_id(), event.attempt())).first;
  const size_t bytes = event.ByteSizeLong();
  attempt.second.push_back({event, bytes});
  order_.push_back(&attempt);
  bytes_ += bytes;
  while (bytes_ > bytes_max_) evict_oldest();
}

void TokenHistory::evict_oldest() {
  auto& [key, attempt] = *order_.front();
  order_.pop_front();
  bytes_ -= attempt.front().bytes;
  attempt.pop_front();
  if (attempt.empty()) attempts_.erase(attempts_.find(key));
}

TokenHistory::Found TokenHistory::since(const std::string& request_id, uint32_t attempt, uint32_t choice,
                                        uint32_t index) const {
  Found found;
  const auto known = attempts_.find(key_of(request_id, attempt));
  if (known == attempts_.end()) return found;
  for (const Kept& kept : known->second) {
    const v1::TokenEvent& event = kept.event;
    if (event.choice() != choice) continue;
    if (event.first_index() <= index) found.complete = true;
    const bool ends = event.finish_reason() != v1::FINISH_REASON_UNSPECIFIED;
    if (index == 0 || end_of(event) > index || ends) found.events.push_back(event);
  }
  return found;
}

}  // namespace bellwether::worker
