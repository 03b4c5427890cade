#include "api-gateway/token_inbox.h"

#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace bellwether::gateway {

namespace asio = boost::asio;

void TokenInbox::begin_attempt(uint32_t attempt) {
  attempt_ = attempt;
  head_.reset();
  early_.clear();
  lost_.reset();
  for (TokenOrder& order : orders_) order.start_attempt();
}

bool TokenInbox::deliver(const std::string& replica_id, uint64_t epoch, const v1::TokenEvent& event) {
  if (event.attempt() != attempt_) return event.attempt() > attempt_;
  if (!head_) {
    if (early_.size() < kEarlyMax) early_.push_back({{replica_id, epoch}, event});
    return true;
  }
  if (head_->replica_id != replica_id) return false;
  if (head_->epoch != epoch) return true;  // what it had in another epoch is lost
  push(event);
  wakeup_->notify();
  return true;
}

void TokenInbox::push(const v1::TokenEvent& event) {
  if (event.choice() >= orders_.size()) return;
  TokenOrder& order = orders_[event.choice()];
  switch (event.finish_reason()) {
    case v1::FINISH_REASON_LOST:
      if (!order.finished()) {
        lose({503, "replica_lost", "the replica that served this request could not go on with it", "", kRetryAfterMin,
              event.error()});
      }
      return;
    case v1::FINISH_REASON_CANCELLED:
      if (!order.finished()) lose({503, "replica_cancelled", "the replica stopped this request", "", kRetryAfterMin});
      return;
    default:
      order.push(event);
  }
}

void TokenInbox::place(const Head& head) {
  head_ = head;
  queued_.reset();
  placed_at_ = mesh::steady_now();
  for (const Early& early : std::exchange(early_, {})) {
    if (early.head == head) push(early.event);
  }
  wakeup_->notify();
}

void TokenInbox::queue(QueuePlace place) {
  queued_ = place;
  wakeup_->notify();
}

void TokenInbox::lose(Failure why) {
  if (!lost_) lost_ = std::move(why);
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
