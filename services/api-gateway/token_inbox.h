// Where the tokens of one request arrive, and where its coroutine waits for them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include "api-gateway/failure.h"
#include "api-gateway/model_directory.h"
#include "api-gateway/token_order.h"
#include "mesh/clock.h"

namespace bellwether::gateway {

// What a coroutine that reads several inboxes waits on. Lives on one single-threaded executor.
class Wakeup {
 public:
  explicit Wakeup(const boost::asio::any_io_executor& executor) : timer_(executor) {}

  void notify() { timer_.cancel(); }
  // Until notify(), at most until `deadline`. Returns early at times.
  boost::asio::awaitable<void> wait(mesh::TimePoint deadline);

 private:
  boost::asio::steady_timer timer_;  // cancelled to wake the one who waits
};

// Where a request stands in a scheduler's queue.
struct QueuePlace {
  uint32_t position = 0;              // requests before it
  std::chrono::milliseconds wait{0};  // estimated; 0 = cannot be told
};

// Lives on one single-threaded executor.
class TokenInbox {
 public:
  // `wakeup` is notified of all that happens here.
  TokenInbox(std::shared_ptr<Wakeup> wakeup, size_t choices, bool logprobs)
      : orders_(choices, TokenOrder(logprobs)), wakeup_(std::move(wakeup)) {}

  // From now on events of this attempt are read, which goes on after the tokens that came before. It is on no head yet.
  void begin_attempt(uint32_t attempt);
  [[nodiscard]] uint32_t attempt() const { return attempt_; }

  // From the bus. Tokens may overtake the answer that says where the request was placed: they wait for place(). False
  // for an event of an older attempt, or of another head than the one placed on: that head works for nobody.
  bool deliver(const std::string& replica_id, uint64_t epoch, const v1::TokenEvent& event);
  void place(const Head& head);
  void queue(QueuePlace place);     // it waits there until place()
  void lose(Failure why);           // the head cannot go on, another may; the first reason of an attempt counts
  void interrupt(Failure failure);  // nobody can; the first one counts
  void leave();                     // the client has gone, or nobody reads here any more

  [[nodiscard]] const std::optional<Head>& head() const { return head_; }
  [[nodiscard]] mesh::TimePoint placed_at() const { return placed_at_; }  // of the last attempt that was
  [[nodiscard]] const std::optional<Failure>& lost() const { return lost_; }
  [[nodiscard]] const std::optional<Failure>& failure() const { return failure_; }
  [[nodiscard]] const std::optional<QueuePlace>& queued() const { return queued_; }
  [[nodiscard]] bool client_gone() const { return client_gone_; }
  [[nodiscard]] std::vector<TokenOrder>& orders() { return orders_; }  // by choice

  static constexpr size_t kEarlyMax = 1024;  // events held before place()

 private:
  void push(const v1::TokenEvent& event);

  struct Early {
    Head head;
    v1::TokenEvent event;
  };

  uint32_t attempt_ = 0;
  std::vector<TokenOrder> orders_;
  std::optional<Head> head_;
  mesh::TimePoint placed_at_{};
  std::vector<Early> early_;
  std::optional<Failure> lost_;
  std::optional<Failure> failure_;
  std::optional<QueuePlace> queued_;
  bool client_gone_ = false;
  std::shared_ptr<Wakeup> wakeup_;
};

}  // namespace bellwether::gateway
