#include "api-gateway/token_inbox.h"

#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace bellwether::gateway {

namespace asio = boost::asio;

void TokenInbox::deliver(const std::string& replica_id, uint64_t epoch, const v1::TokenEvent& event) {
  if (event.attempt() != attempt_) return;
  if (!head_) {
    if (early_.size() < kEarlyMax) early_.push_back({{replica_id, epoch}, event});
    return;
  }
  if (head_->replica_id != replica_id || head_->epoch != epoch) return;
  push(event);
  wakeup_->notify();
}

void TokenInbox::push(const v1::TokenEvent& event) {
  if (event.choice() < orders_.size()) orders_[event.choice()].push(event);
}

void TokenInbox::place(const Head& head) {
  head_ = head;
  for (const Early& early : std::exchange(early_, {})) {
    if (early.head == head) push(early.event);
  }
  wakeup_->notify();
}

void TokenInbox::interrupt(Failure failure) {
  if (!failure_) failure_ = std::move(failure);
  wakeup_->notify();
}

void TokenInbox::leave() {
  client_gone_ = true;
  wakeup_->notify();
}

asio::awaitable<void> Wakeup::wait(mesh::TimePoint deadline) {
  timer_.expires_at(deadline);
  co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
}

}  // namespace bellwether::gateway
