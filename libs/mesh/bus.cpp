#include "mesh/bus.h"

#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include "mesh/clock.h"
#include "mesh/ids.h"
#include "mesh/log.h"
#include "mesh/nats_link.h"

namespace bellwether::mesh {
namespace asio = boost::asio;
namespace {

using std::chrono::milliseconds;

constexpr int kHandedOutAtOnce = 64;            // messages of one subscription before others have their turn
constexpr int64_t kMessageOverheadBytes = 256;  // of a received message, beside its texts: empty ones are bounded too
constexpr size_t kRequestsPendingMax = 65536;
constexpr milliseconds kLogInterval{1000};  // between two lines about the same trouble

// For troubles that come in thousands: one line a while, and a count in it.
class LogLimit {
 public:
  bool allows() {
    const int64_t now = steady_now().time_since_epoch().count();
    int64_t next = next_.load(std::memory_order_relaxed);
    const auto interval = std::chrono::duration_cast<TimePoint::duration>(kLogInterval).count();
    return now >= next && next_.compare_exchange_strong(next, now + interval);
  }

 private:
  std::atomic<int64_t> next_{0};
};

struct Tally {
  std::atomic<uint64_t> received{0};
  std::atomic<uint64_t> malformed{0};
  std::atomic<uint64_t> overflowed{0};
  std::atomic<uint64_t> handler_errors{0};
  LogLimit malformed_log;
  LogLimit overflowed_log;
  LogLimit handler_error_log;
};

// A subject's tokens are not empty and have nothing in them that the protocol reads otherwise.
void check_subject(std::string_view subject, bool wildcards_allowed) {
  bool good = !subject.empty();
  for (size_t start = 0; good && start <= subject.size();) {
    const size_t end = std::min(subject.find('.', start), subject.size());
    const std::string_view token = subject.substr(start, end - start);
    const bool wildcard = token == "*" || token == ">";
    const bool plain = std::all_of(token.begin(), token.end(), [](unsigned char c) { return c > ' ' && c != 0x7F; });
    good = !token.empty() && plain && (wildcards_allowed || !wildcard);
    start = end + 1;
  }
  if (!good) throw Error(ErrorCode::kInvalidArgument, "not a subject of the bus", std::string(subject));
}

// A value that a coroutine waits for and another thread sets.
template <class Value>
class Answer : public std::enable_shared_from_this<Answer<Value>> {
 public:
  explicit Answer(const asio::any_io_executor& executor) : timer_(executor) {}

  // From any thread; only the first counts.
  void set(Value value) {
    asio::dispatch(timer_.get_executor(), [self = this->shared_from_this(), value = std::move(value)]() mutable {
      if (self->value_) return;
      self->value_ = std::move(value);
      self->timer_.cancel();
    });
  }

  // On the constructor's executor. Nothing when none came in time; throws when the coroutine is cancelled.
  asio::awaitable<std::optional<Value>> wait_until(TimePoint deadline) {
    const auto keep = this->shared_from_this();
    if (!value_) {
      timer_.expires_at(deadline);
      const auto [error] = co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
      if (!value_ && error) throw boost::system::system_error(error);
    }
    co_return std::move(value_);
  }

 private:
  asio::steady_timer timer_;
  std::optional<Value> value_;
};

struct Reply {
  std::string data;
  std::optional<Error> error;
};

}  // namespace

// What has been received and not yet handled. The link's threads fill it, the executor empties it.
struct Subscription::State : std::enable_shared_from_this<Subscription::State> {
  using Handler = std::function<void(const BusMessage& message, bool no_responders)>;

  State(asio::any_io_executor executor, std::shared_ptr<Tally> tally, int64_t bytes_max, Handler handler)
      : executor_(std::move(executor)),
        tally_(std::move(tally)),
        bytes_max_(bytes_max),
        handler_(std::make_shared<const Handler>(std::move(handler))) {}

  void receive(BusMessage message, bool no_responders);
  void hand_out();
  void close();
  bool idle();

  std::function<void()> unsubscribe;  // set once, before a Subscription has the state

 private:
  struct Received {
    BusMessage message;
    bool no_responders;

    [[nodiscard]] int64_t bytes() const {
      return static_cast<int64_t>(message.subject.size() + message.reply_to.size() + message.data.size()) +
             kMessageOverheadBytes;
    }
  };

  bool hand_out_one();

  const asio::any_io_executor executor_;
  const std::shared_ptr<Tally> tally_;
  const int64_t bytes_max_;

  std::mutex mutex_;
  // GUARDED_BY mutex_. The handler is null once closed; it is let go by who closes, or by the executor.
  std::shared_ptr<const Handler> handler_;
  std::deque<Received> received_;
  int64_t bytes_ = 0;
  bool handing_out_ = false;  // hand_out() has been posted or runs
};

void Subscription::State::receive(BusMessage message, bool no_responders) {
  Received received{std::move(message), no_responders};
  const std::lock_guard lock(mutex_);
  if (handler_ == nullptr) return;
  const int64_t bytes = received.bytes();
  if (bytes_ + bytes > bytes_max_) {
    const uint64_t total = ++tally_->overflowed;
    if (tally_->overflowed_log.allows()) {
      log::warning("bus messages dropped: their handler is too slow",
                   {{"subject", received.message.subject}, {"pending_bytes", bytes_}, {"dropped_total", total}});
    }
    return;
  }
  ++tally_->received;
  bytes_ += bytes;
  received_.push_back(std::move(received));
  if (handing_out_) return;
  handing_out_ = true;
  // Under the lock, so that nothing is posted to an executor whose owner has closed the subscription and gone.
  asio::post(executor_, [self = shared_from_this()] { self->hand_out(); });
}

void Subscription::State::hand_out() {
  for (int i = 0; i < kHandedOutAtOnce; ++i) {
    if (!hand_out_one()) return;
  }
  asio::post(executor_, [self = shared_from_this()] { self->hand_out(); });
}

// False when there was none.
bool Subscription::State::hand_out_one() {
  std::shared_ptr<const Handler> handler;
  std::optional<Received> received;
  {
    const std::lock_guard lock(mutex_);
    if (received_.empty()) {
      handing_out_ = false;
      return false;
    }
    handler = handler_;
    received = std::move(received_.front());
    received_.pop_front();
    bytes_ -= received->bytes();
  }
  std::string what;
  try {
    (*handler)(received->message, received->no_responders);
    return true;
  } catch (const std::exception& error) {
    what = error.what();
  } catch (...) {
    what = "not a std::exception";
  }
  const uint64_t total = ++tally_->handler_errors;
  if (tally_->handler_error_log.allows()) {
    log::error("a bus handler failed",
               {{"subject", received->message.subject}, {"error", what}, {"failed_total", total}});
  }
  return true;
}

void Subscription::State::close() {
  std::shared_ptr<const Handler> handler;  // destroyed after the lock: it may own anything
  std::deque<Received> received;
  const std::lock_guard lock(mutex_);
  handler.swap(handler_);
  received.swap(received_);
  bytes_ = 0;
}

bool Subscription::State::idle() {
  const std::lock_guard lock(mutex_);
  return !handing_out_;
}

Subscription::Subscription(std::shared_ptr<State> state) : state_(std::move(state)) {}
Subscription::Subscription(Subscription&&) noexcept = default;
Subscription& Subscription::operator=(Subscription&& other) noexcept {
  if (this != &other) {
    reset();
    state_ = std::move(other.state_);
  }
  return *this;
}
Subscription::~Subscription() {
  reset();
}

void Subscription::reset() {
  if (state_ == nullptr) return;
  const std::shared_ptr<State> state = std::exchange(state_, nullptr);
  state->close();
  state->unsubscribe();
}

class Bus::Impl : public std::enable_shared_from_this<Bus::Impl> {
 public:
  Impl(asio::any_io_executor executor, const BusOptions& options)
      : executor_(std::move(executor)),
        pending_bytes_max_(options.subscription_pending_bytes_max),
        link_(options, [this] { fail_requests("the bus is disconnected"); }) {}

  void start();
  void end();
  Subscription subscribe(std::string_view subject, std::string_view queue_group, Subscription::State::Handler handler);
  void count_malformed(const BusMessage& message);
  asio::awaitable<std::string> request(std::string subject, std::string data, milliseconds timeout);
  asio::awaitable<bool> flush(milliseconds timeout);
  asio::awaitable<void> stop(milliseconds timeout);
  [[nodiscard]] BusCounters counters() const;
  [[nodiscard]] NatsLink& link() { return link_; }

 private:
  using PendingReply = std::shared_ptr<Answer<Reply>>;

  // Ends the wait for a reply when its coroutine ends, however it does.
  class Expectation {
   public:
    Expectation(Impl& bus, std::string token) : bus_(bus), token_(std::move(token)) {}
    ~Expectation() { bus_.forget(token_); }
    Expectation(const Expectation&) = delete;
    Expectation& operator=(const Expectation&) = delete;

   private:
    Impl& bus_;
    const std::string token_;
  };

  std::string expect(const PendingReply& reply);
  void forget(const std::string& token);
  void receive_reply(const BusMessage& message, bool no_responders);
  void fail_requests(const std::string& why);
  asio::awaitable<void> stop_in_order(TimePoint deadline);
  std::vector<std::shared_ptr<Subscription::State>> subscriptions();

  const asio::any_io_executor executor_;
  const int64_t pending_bytes_max_;
  const std::shared_ptr<Tally> tally_ = std::make_shared<Tally>();
  const std::string inbox_ = random_id("_INBOX.bw", 20) + ".";
  std::atomic<bool> stopping_{false};

  std::mutex mutex_;
  // GUARDED_BY mutex_.
  std::unordered_map<std::string, PendingReply> expected_;
  uint64_t next_token_ = 0;
  std::vector<std::weak_ptr<Subscription::State>> subscriptions_;

  NatsLink link_;  // last: its thread uses the others
  Subscription inbox_subscription_;
};

void Bus::Impl::start() {
  google::protobuf::SetLogHandler(nullptr);  // malformed messages are counted and logged here, not on bare lines
  inbox_subscription_ =
      subscribe(inbox_ + "*", {}, [weak = weak_from_this()](const BusMessage& message, bool no_responders) {
        if (const auto self = weak.lock()) self->receive_reply(message, no_responders);
      });
}

// Of the Bus' life: afterwards nothing is posted to the executor.
void Bus::Impl::end() {
  for (const auto& subscription : subscriptions()) subscription->close();
  link_.end();
  fail_requests("the bus is closed");
}

Subscription Bus::Impl::subscribe(std::string_view subject, std::string_view queue_group,
                                  Subscription::State::Handler handler) {
  check_subject(subject, true);
  const auto state = std::make_shared<Subscription::State>(executor_, tally_, pending_bytes_max_, std::move(handler));
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(subscriptions_, [](const auto& weak) { return weak.expired(); });
    subscriptions_.push_back(state);
  }
  const uint64_t id = link_.subscribe(
      std::string(subject), std::string(queue_group),
      [state](BusMessage message, bool no_responders) { state->receive(std::move(message), no_responders); });
  state->unsubscribe = [weak = weak_from_this(), id] {
    if (const auto self = weak.lock()) self->link_.unsubscribe(id);
  };
  return Subscription(state);
}

std::vector<std::shared_ptr<Subscription::State>> Bus::Impl::subscriptions() {
  std::vector<std::shared_ptr<Subscription::State>> result;
  const std::lock_guard lock(mutex_);
  for (const auto& weak : subscriptions_) {
    if (auto state = weak.lock()) result.push_back(std::move(state));
  }
  return result;
}

void Bus::Impl::count_malformed(const BusMessage& message) {
  const uint64_t total = ++tally_->malformed;
  if (tally_->malformed_log.allows()) {
    log::warning("malformed bus message dropped",
                 {{"subject", message.subject}, {"bytes", message.data.size()}, {"malformed_total", total}});
  }
}

std::string Bus::Impl::expect(const PendingReply& reply) {
  const std::lock_guard lock(mutex_);
  if (expected_.size() >= kRequestsPendingMax) {
    throw Error(ErrorCode::kResourceExhausted, "too many requests wait for answers from the bus");
  }
  std::string token = std::to_string(next_token_++);
  expected_.emplace(token, reply);
  return token;
}

void Bus::Impl::forget(const std::string& token) {
  const std::lock_guard lock(mutex_);
  expected_.erase(token);
}

void Bus::Impl::receive_reply(const BusMessage& message, bool no_responders) {
  PendingReply reply;
  {
    const std::lock_guard lock(mutex_);
    const auto found = expected_.find(message.subject.substr(inbox_.size()));
    if (found == expected_.end()) return;  // it came too late
    reply = found->second;
  }
  if (no_responders) {
    reply->set({{}, Error(ErrorCode::kUnavailable, "nobody listens")});
  } else {
    reply->set({message.data, std::nullopt});
  }
}

void Bus::Impl::fail_requests(const std::string& why) {
  const std::lock_guard lock(mutex_);
  for (auto& [token, reply] : expected_) reply->set({{}, Error(ErrorCode::kUnavailable, why)});
}

asio::awaitable<std::string> Bus::Impl::request(std::string subject, std::string data, milliseconds timeout) {
  const auto self = shared_from_this();
  check_subject(subject, false);
  const TimePoint deadline = steady_now() + timeout;
  const auto answer = std::make_shared<Answer<Reply>>(co_await asio::this_coro::executor);
  const std::string token = expect(answer);
  const Expectation expectation(*this, token);
  // After expect(): if the connection goes from here on, the request is among those that fail with it.
  if (!link_.connected()) throw Error(ErrorCode::kUnavailable, "the bus is disconnected", subject);
  link_.publish(Urgency::kNow, subject, inbox_ + token, std::move(data));
  std::optional<Reply> reply = co_await answer->wait_until(deadline);
  if (!reply) throw Error(ErrorCode::kDeadlineExceeded, "no answer in time", subject);
  if (reply->error) throw Error(reply->error->code(), reply->error->what(), subject);
  co_return std::move(reply->data);
}

asio::awaitable<bool> Bus::Impl::flush(milliseconds timeout) {
  const auto self = shared_from_this();
  const TimePoint deadline = steady_now() + timeout;
  const auto answer = std::make_shared<Answer<bool>>(co_await asio::this_coro::executor);
  link_.flush(deadline, [answer](bool reached) { answer->set(reached); });
  const std::optional<bool> reached = co_await answer->wait_until(deadline);
  co_return reached.value_or(false);
}

asio::awaitable<void> Bus::Impl::stop(milliseconds timeout) {
  const auto self = shared_from_this();
  if (stopping_.exchange(true)) co_return;
  const TimePoint deadline = steady_now() + timeout;
  try {
    co_await stop_in_order(deadline);
  } catch (const std::exception& error) {
    log::warning("the bus was not stopped in order", {{"error", error.what()}});
  }
}

asio::awaitable<void> Bus::Impl::stop_in_order(TimePoint deadline) {
  const auto executor = co_await asio::this_coro::executor;
  const auto drained = std::make_shared<Answer<bool>>(executor);
  link_.drain(deadline, [drained] { drained->set(true); });
  co_await drained->wait_until(deadline);

  const auto handlers_run = [this] {
    const auto all = subscriptions();
    return std::any_of(all.begin(), all.end(), [](const auto& state) { return !state->idle(); });
  };
  while (handlers_run() && steady_now() < deadline) co_await asio::post(executor_, asio::use_awaitable);

  fail_requests("the bus is closed");
  const auto closed = std::make_shared<Answer<bool>>(executor);
  link_.close(deadline, [closed] { closed->set(true); });
  co_await closed->wait_until(deadline);
}

BusCounters Bus::Impl::counters() const {
  return {.published = link_.published(),
          .received = tally_->received,
          .malformed = tally_->malformed,
          .overflowed = tally_->overflowed,
          .handler_errors = tally_->handler_errors,
          .reconnects = link_.reconnects()};
}

Bus::Bus(asio::any_io_executor executor, BusOptions options)
    : impl_(std::make_shared<Impl>(std::move(executor), options)) {
  impl_->start();
}

Bus::~Bus() {
  impl_->end();
}

void Bus::publish_bytes(std::string_view subject, std::string data, Urgency urgency) {
  check_subject(subject, false);
  impl_->link().publish(urgency, std::string(subject), {}, std::move(data));
}

Subscription Bus::subscribe_bytes(std::string_view subject, std::string_view queue_group,
                                  std::function<void(const BusMessage&)> handler) {
  return impl_->subscribe(subject, queue_group,
                          [handler = std::move(handler)](const BusMessage& message, bool) { handler(message); });
}

asio::awaitable<std::string> Bus::request_bytes(std::string subject, std::string data, milliseconds timeout) {
  return impl_->request(std::move(subject), std::move(data), timeout);
}

asio::awaitable<bool> Bus::flush(milliseconds timeout) {
  return impl_->flush(timeout);
}

asio::awaitable<void> Bus::stop(milliseconds timeout) {
  return impl_->stop(timeout);
}

bool Bus::connected() const {
  return impl_->link().connected();
}

BusCounters Bus::counters() const {
  return impl_->counters();
}

int64_t Bus::payload_bytes_max() const {
  return impl_->link().payload_bytes_max();
}

void Bus::count_malformed(const BusMessage& message) {
  impl_->count_malformed(message);
}

}  // namespace bellwether::mesh
