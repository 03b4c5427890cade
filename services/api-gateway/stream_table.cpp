#include "api-gateway/stream_table.h"

namespace bellwether::gateway {

void StreamTable::add(const std::string& request_id, std::shared_ptr<TokenInbox> inbox) {
  streams_.insert_or_assign(request_id, std::move(inbox));
}

void StreamTable::remove(const std::string& request_id) {
  streams_.erase(request_id);
}

std::vector<const v1::TokenEvent*> StreamTable::deliver(const v1::TokenBatch& batch) {
  std::vector<const v1::TokenEvent*> unwanted;
  for (const v1::TokenEvent& event : batch.events()) {
    const auto found = streams_.find(event.request_id());
    const bool wanted = found != streams_.end() && found->second->deliver(batch.replica_id(), batch.epoch(), event);
    if (!wanted && event.finish_reason() == v1::FINISH_REASON_UNSPECIFIED) unwanted.push_back(&event);
  }
  return unwanted;
}

void StreamTable::lose_all_on(const Head& head, const Failure& why) {
  for (const auto& [id, inbox] : streams_) {
    if (inbox->head() == head) inbox->lose(why);
  }
}

void StreamTable::interrupt_all(const Failure& failure) {
  for (const auto& [id, inbox] : streams_) inbox->interrupt(failure);
}

}  // namespace bellwether::gateway
