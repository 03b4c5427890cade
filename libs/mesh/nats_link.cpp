#include "mesh/nats_link.h"

#include <nats/nats.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "mesh/log.h"

namespace bellwether::mesh {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kConnectTryMax{1000};   // for one server to greet us
constexpr milliseconds kWriteWaitMax{2000};    // for a server to read; after it the connection is given up
constexpr milliseconds kPublishWaitMax{1000};  // for room in the queue while connected
constexpr milliseconds kPingInterval{2000};    // a server that does not answer ...
constexpr int kPingsUnansweredMax = 2;         // ... this many is gone
constexpr milliseconds kEndWaitMax{200};       // to send what is queued, when nobody called close()
constexpr milliseconds kDrainLook{1};          // at a time, for the end of a subscription's draining
constexpr int kTriesLogged = 16;               // to connect again: each so many one warning
constexpr int kDeliveryThreads = 1;            // of the library, for all subscriptions: they only hand over
constexpr int64_t kQueuedOverheadBytes = 128;  // of a queued message, beside its texts

struct OptionsDeleter {
  void operator()(natsOptions* options) const { natsOptions_Destroy(options); }
};
struct MessageDeleter {
  void operator()(natsMsg* message) const { natsMsg_Destroy(message); }
};

// What the library's callbacks are given is a number, and it is looked up here: a callback that comes late finds
// nothing, whatever the library does with subscriptions that were destroyed meanwhile.
template <class Callback>
class Callbacks {
 public:
  static Callbacks& instance() {
    static auto* const callbacks = new Callbacks;  // never destroyed: library threads outlive main()
    return *callbacks;
  }

  uint64_t add(Callback callback) {
    const std::lock_guard lock(mutex_);
    const uint64_t id = next_id_++;
    callbacks_.emplace(id, std::make_shared<const Callback>(std::move(callback)));
    return id;
  }

  void remove(uint64_t id) {
    const std::lock_guard lock(mutex_);
    callbacks_.erase(id);
  }

  std::shared_ptr<const Callback> find(const void* closure) {
    const std::lock_guard lock(mutex_);
    const auto found = callbacks_.find(reinterpret_cast<uint64_t>(closure));
    return found == callbacks_.end() ? nullptr : found->second;
  }

  static void* closure(uint64_t id) { return reinterpret_cast<void*>(id); }

 private:
  std::mutex mutex_;
  uint64_t next_id_ = 1;
  std::unordered_map<uint64_t, std::shared_ptr<const Callback>> callbacks_;
};

// Called with NATS_CONNECTION_CLOSED when a connection has ended, and with what else the library reports.
using OnEvent = std::function<void(natsStatus)>;

void on_message(natsConnection*, natsSubscription*, natsMsg* raw, void* closure) {
  const std::unique_ptr<natsMsg, MessageDeleter> message(raw);
  const auto receive = Callbacks<NatsLink::Receive>::instance().find(closure);
  if (receive == nullptr) return;
  const char* reply_to = natsMsg_GetReply(raw);
  BusMessage copy{natsMsg_GetSubject(raw), reply_to == nullptr ? "" : reply_to,
                  std::string(natsMsg_GetData(raw), static_cast<size_t>(natsMsg_GetDataLength(raw)))};
  (*receive)(std::move(copy), natsMsg_IsNoResponders(raw));
}

void on_closed(natsConnection*, void* closure) {
  if (const auto on_event = Callbacks<OnEvent>::instance().find(closure)) (*on_event)(NATS_CONNECTION_CLOSED);
}

void on_error(natsConnection*, natsSubscription*, natsStatus status, void* closure) {
  if (const auto on_event = Callbacks<OnEvent>::instance().find(closure)) (*on_event)(status);
}

// "nats://user:secret@host" without what is secret.
std::string without_credentials(const std::string& url) {
  const size_t at = url.rfind('@');
  const size_t start = url.find("//");
  if (at == std::string::npos) return url;
  return (start == std::string::npos ? "" : url.substr(0, start + 2)) + url.substr(at + 1);
}

std::vector<std::string> split_urls(const std::string& urls) {
  std::vector<std::string> result;
  for (size_t start = 0; start < urls.size();) {
    const size_t end = std::min(urls.find(',', start), urls.size());
    std::string url = urls.substr(start, end - start);
    std::erase(url, ' ');
    if (!url.empty()) result.push_back(std::move(url));
    start = end + 1;
  }
  return result;
}

std::string shown_urls(const std::string& urls) {
  std::string result;
  for (const std::string& url : split_urls(urls)) result += (result.empty() ? "" : ",") + without_credentials(url);
  return result;
}

int64_t ms_until(TimePoint deadline) {
  const auto left = std::chrono::ceil<milliseconds>(deadline - steady_now());
  return std::max<int64_t>(left.count(), 1);  // to the library 0 means for ever
}

// The statuses that concern one message and not the connection.
bool concerns_message(natsStatus status) {
  return status == NATS_MAX_PAYLOAD || status == NATS_INVALID_ARG || status == NATS_INVALID_SUBJECT;
}

}  // namespace

milliseconds reconnect_wait(int attempt, const BusOptions& options, double random) {
  static constexpr int kDoublingsMax = 20;
  const double doubled =
      static_cast<double>(options.reconnect_wait_min.count()) * std::exp2(std::min(attempt, kDoublingsMax));
  const double most = std::min(doubled, static_cast<double>(options.reconnect_wait_max.count()));
  return milliseconds(std::llround(most * (0.5 + 0.5 * random)));
}

class NatsLink::Core : public std::enable_shared_from_this<NatsLink::Core> {
 public:
  Core(const BusOptions& options, std::function<void()> lost) : options_(options), on_lost_(std::move(lost)) {}

  void start();
  void join();

  void publish(Urgency urgency, std::string subject, std::string reply_to, std::string data);
  uint64_t subscribe(std::string subject, std::string queue_group, Receive receive);
  void unsubscribe(uint64_t id);
  void flush(TimePoint deadline, std::function<void(bool)> done);
  void drain(TimePoint deadline, std::function<void()> done);
  bool close(TimePoint deadline, std::function<void()> done);

  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] int64_t payload_bytes_max() const { return payload_bytes_max_; }
  [[nodiscard]] uint64_t published() const { return published_; }
  [[nodiscard]] uint64_t reconnects() const { return reconnects_; }

 private:
  struct Outgoing {
    Urgency urgency;
    std::string subject;
    std::string reply_to;
    std::string data;

    [[nodiscard]] int64_t bytes() const {
      return static_cast<int64_t>(subject.size() + reply_to.size() + data.size()) + kQueuedOverheadBytes;
    }
  };
  using Call = std::function<void()>;
  using Task = std::variant<Outgoing, Call>;
  enum class Step { kPerform, kReconnect, kFinish };
  struct Subscribed {
    std::string subject;
    std::string queue_group;
    natsSubscription* handle = nullptr;  // null while disconnected
  };

  // On the thread.
  void run();
  Step next_step(Task& task);
  void perform(Task task);
  natsStatus send(const Outgoing& message);
  natsStatus connect();
  natsStatus connect_one(bool send_at_once, natsConnection*& connection);
  std::unique_ptr<natsOptions, OptionsDeleter> connection_options(bool send_at_once);
  natsStatus subscribe_at_server(uint64_t id, Subscribed& subscribed);
  void disconnect();
  bool reconnect();
  bool wait_for_next_try(int attempt);
  void await_drained(TimePoint deadline, std::function<void()> done);
  void finish();

  void enqueue(Call call);
  void on_event(natsStatus status, uint64_t generation);
  void mark_lost(uint64_t generation);

  const BusOptions options_;
  const std::function<void()> on_lost_;
  std::thread thread_;

  std::atomic<bool> connected_{false};
  std::atomic<int64_t> payload_bytes_max_{0};
  std::atomic<uint64_t> published_{0};
  std::atomic<uint64_t> reconnects_{0};

  std::mutex mutex_;
  std::condition_variable changed_;
  // GUARDED_BY mutex_.
  std::deque<Task> tasks_;
  int64_t queued_bytes_ = 0;
  bool lost_ = false;
  uint64_t generation_ = 0;  // of the connections: what an earlier pair reports late concerns nobody
  std::optional<TimePoint> close_deadline_;
  std::function<void()> close_done_;

  // Used by start(), then by the thread only.
  natsConnection* now_ = nullptr;
  natsConnection* batched_ = nullptr;
  uint64_t event_id_ = 0;
  std::map<uint64_t, Subscribed> subscriptions_;
  std::mt19937_64 random_{std::random_device{}()};
};

void NatsLink::Core::start() {
  nats_Open(-1);
  nats_SetMessageDeliveryPoolSize(kDeliveryThreads);
  const TimePoint deadline = steady_now() + options_.connect_timeout;
  natsStatus status = connect();
  for (int attempt = 0; status != NATS_OK; ++attempt) {
    const double random = std::uniform_real_distribution<double>()(random_);
    const TimePoint next = steady_now() + reconnect_wait(attempt, options_, random);
    if (next >= deadline || status == NATS_CONNECTION_AUTH_FAILED) {
      throw Error(ErrorCode::kUnavailable,
                  "cannot connect to " + shown_urls(options_.url) + ": " + natsStatus_GetText(status), "--nats-url");
    }
    std::this_thread::sleep_until(next);
    status = connect();
  }
  {
    const std::lock_guard lock(mutex_);
    connected_ = !lost_;
  }
  thread_ = std::thread([self = shared_from_this()] { self->run(); });
}

void NatsLink::Core::join() {
  if (thread_.joinable()) thread_.join();
}

void NatsLink::Core::publish(Urgency urgency, std::string subject, std::string reply_to, std::string data) {
  if (static_cast<int64_t>(data.size()) > payload_bytes_max_) {
    throw Error(ErrorCode::kResourceExhausted,
                "a message of " + std::to_string(data.size()) + " bytes is larger than the bus takes", subject);
  }
  Outgoing message{urgency, std::move(subject), std::move(reply_to), std::move(data)};
  const int64_t bytes = message.bytes();
  std::unique_lock lock(mutex_);
  const auto has_room = [&] { return queued_bytes_ + bytes <= options_.reconnect_buffer_bytes_max; };
  // A sender faster than the servers is slowed down; one that no server listens to is told.
  changed_.wait_for(lock, kPublishWaitMax, [&] { return has_room() || !connected_ || close_deadline_; });
  if (close_deadline_) throw Error(ErrorCode::kUnavailable, "the bus is closed", message.subject);
  if (!has_room()) {
    throw Error(ErrorCode::kResourceExhausted, "too much is waiting to be sent on the bus", message.subject);
  }
  queued_bytes_ += bytes;
  tasks_.emplace_back(std::move(message));
  ++published_;
  changed_.notify_all();
}

uint64_t NatsLink::Core::subscribe(std::string subject, std::string queue_group, Receive receive) {
  const uint64_t id = Callbacks<Receive>::instance().add(std::move(receive));
  enqueue([this, id, subscribed = Subscribed{std::move(subject), std::move(queue_group)}] {
    Subscribed& entry = subscriptions_.emplace(id, subscribed).first->second;
    subscribe_at_server(id, entry);  // if the connection breaks now, all are made again with the next one
  });
  return id;
}

void NatsLink::Core::unsubscribe(uint64_t id) {
  Callbacks<Receive>::instance().remove(id);
  enqueue([this, id] {
    const auto found = subscriptions_.find(id);
    if (found == subscriptions_.end()) return;
    natsSubscription_Destroy(found->second.handle);
    subscriptions_.erase(found);
  });
}

void NatsLink::Core::flush(TimePoint deadline, std::function<void(bool)> done) {
  enqueue([this, deadline, done = std::move(done)] {
    const bool reached = natsConnection_FlushTimeout(now_, ms_until(deadline)) == NATS_OK &&
                         natsConnection_FlushTimeout(batched_, ms_until(deadline)) == NATS_OK;
    done(reached);
  });
}

void NatsLink::Core::drain(TimePoint deadline, std::function<void()> done) {
  enqueue([this, deadline, done = std::move(done)] {
    for (auto& [id, subscribed] : subscriptions_) natsSubscription_DrainTimeout(subscribed.handle, ms_until(deadline));
    await_drained(deadline, done);
  });
}

// False when it was called before.
bool NatsLink::Core::close(TimePoint deadline, std::function<void()> done) {
  const std::lock_guard lock(mutex_);
  if (close_deadline_) return false;
  close_deadline_ = deadline;
  close_done_ = std::move(done);
  changed_.notify_all();
  return true;
}

void NatsLink::Core::enqueue(Call call) {
  const std::lock_guard lock(mutex_);
  tasks_.emplace_back(std::move(call));
  changed_.notify_all();
}

void NatsLink::Core::on_event(natsStatus status, uint64_t generation) {
  if (status == NATS_CONNECTION_CLOSED) {
    mark_lost(generation);
  } else {
    log::error("the bus reports an error", {{"error", natsStatus_GetText(status)}});
  }
}

void NatsLink::Core::mark_lost(uint64_t generation) {
  const std::lock_guard lock(mutex_);
  if (generation != generation_) return;
  lost_ = true;
  connected_ = false;
  changed_.notify_all();
}

void NatsLink::Core::run() {
  Task task;
  for (Step step = next_step(task); step != Step::kFinish; step = next_step(task)) {
    if (step == Step::kPerform) {
      perform(std::move(task));
    } else if (!reconnect()) {
      break;
    }
  }
  finish();
  nats_ReleaseThreadMemory();
}

// Waits for something to do; with kPerform, `task` is it.
NatsLink::Core::Step NatsLink::Core::next_step(Task& task) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !tasks_.empty() || lost_ || close_deadline_; });
  if (close_deadline_ && (tasks_.empty() || steady_now() >= *close_deadline_)) return Step::kFinish;
  if (lost_) return Step::kReconnect;
  task = std::move(tasks_.front());
  tasks_.pop_front();
  return Step::kPerform;
}

void NatsLink::Core::perform(Task task) {
  if (const Call* call = std::get_if<Call>(&task)) {
    (*call)();
    return;
  }
  auto& message = std::get<Outgoing>(task);
  const natsStatus status = send(message);
  const std::lock_guard lock(mutex_);
  if (status == NATS_OK || concerns_message(status)) {
    if (status != NATS_OK) {
      log::error("a message cannot be sent", {{"subject", message.subject}, {"error", natsStatus_GetText(status)}});
    }
    queued_bytes_ -= message.bytes();
    changed_.notify_all();
  } else {
    // Not sent as a whole, so no server has understood it: it goes first over the next connection.
    tasks_.emplace_front(std::move(message));
    lost_ = true;
    connected_ = false;
  }
}

natsStatus NatsLink::Core::send(const Outgoing& message) {
  natsConnection* const connection = message.urgency == Urgency::kNow ? now_ : batched_;
  const auto bytes = static_cast<int>(message.data.size());
  if (message.reply_to.empty()) {
    return natsConnection_Publish(connection, message.subject.c_str(), message.data.data(), bytes);
  }
  return natsConnection_PublishRequest(connection, message.subject.c_str(), message.reply_to.c_str(),
                                       message.data.data(), bytes);
}

std::unique_ptr<natsOptions, OptionsDeleter> NatsLink::Core::connection_options(bool send_at_once) {
  natsOptions* raw = nullptr;
  if (natsOptions_Create(&raw) != NATS_OK) return nullptr;
  std::unique_ptr<natsOptions, OptionsDeleter> result(raw);

  const std::vector<std::string> urls = split_urls(options_.url);
  std::vector<const char*> servers;
  for (const std::string& url : urls) servers.push_back(url.c_str());
  void* const closure = Callbacks<OnEvent>::closure(event_id_);
  const natsStatus statuses[] = {
      natsOptions_SetServers(raw, servers.data(), static_cast<int>(servers.size())),
      natsOptions_SetName(raw, options_.client_name.c_str()),
      natsOptions_SetTimeout(raw, kConnectTryMax.count()),
      natsOptions_SetWriteDeadline(raw, kWriteWaitMax.count()),
      natsOptions_SetPingInterval(raw, kPingInterval.count()),
      natsOptions_SetMaxPingsOut(raw, kPingsUnansweredMax),
      natsOptions_SetAllowReconnect(raw, false),
      natsOptions_SetSendAsap(raw, send_at_once),
      natsOptions_UseGlobalMessageDelivery(raw, true),
      natsOptions_SetClosedCB(raw, on_closed, closure),
      natsOptions_SetErrorHandler(raw, on_error, closure),
      options_.credentials_file.empty()
          ? NATS_OK
          : natsOptions_SetUserCredentialsFromFiles(raw, options_.credentials_file.c_str(), nullptr),
  };
  const bool good = std::all_of(std::begin(statuses), std::end(statuses), [](natsStatus s) { return s == NATS_OK; });
  return good ? std::move(result) : nullptr;
}

natsStatus NatsLink::Core::connect_one(bool send_at_once, natsConnection*& connection) {
  const auto options = connection_options(send_at_once);
  return options == nullptr ? NATS_INVALID_ARG : natsConnection_Connect(&connection, options.get());
}

// Both connections and all subscriptions, or nothing.
natsStatus NatsLink::Core::connect() {
  uint64_t generation = 0;
  {
    const std::lock_guard lock(mutex_);
    generation = ++generation_;
    lost_ = false;
  }
  event_id_ = Callbacks<OnEvent>::instance().add([self = weak_from_this(), generation](natsStatus status) {
    if (const auto core = self.lock()) core->on_event(status, generation);
  });
  natsStatus status = connect_one(true, now_);
  if (status == NATS_OK) status = connect_one(false, batched_);
  for (auto& [id, subscribed] : subscriptions_) {
    if (status != NATS_OK) break;
    const natsStatus subscribing = subscribe_at_server(id, subscribed);
    if (!concerns_message(subscribing)) status = subscribing;
  }
  if (status == NATS_OK) {
    payload_bytes_max_ = natsConnection_GetMaxPayload(now_);
  } else {
    disconnect();
  }
  return status;
}

natsStatus NatsLink::Core::subscribe_at_server(uint64_t id, Subscribed& subscribed) {
  void* const closure = Callbacks<Receive>::closure(id);
  const char* const subject = subscribed.subject.c_str();
  const natsStatus status = subscribed.queue_group.empty()
                                ? natsConnection_Subscribe(&subscribed.handle, now_, subject, on_message, closure)
                                : natsConnection_QueueSubscribe(&subscribed.handle, now_, subject,
                                                                subscribed.queue_group.c_str(), on_message, closure);
  if (status != NATS_OK) {
    log::warning("cannot subscribe", {{"subject", subject}, {"error", natsStatus_GetText(status)}});
  }
  return status;
}

void NatsLink::Core::disconnect() {
  Callbacks<OnEvent>::instance().remove(event_id_);
  // In this order: a subscription of a closed connection needs no word with the server.
  for (natsConnection* connection : {batched_, now_}) {
    if (connection != nullptr) natsConnection_Close(connection);
  }
  for (auto& [id, subscribed] : subscriptions_) natsSubscription_Destroy(std::exchange(subscribed.handle, nullptr));
  natsConnection_Destroy(std::exchange(batched_, nullptr));
  natsConnection_Destroy(std::exchange(now_, nullptr));
}

// False when the link closes before it succeeds.
bool NatsLink::Core::reconnect() {
  const TimePoint lost_at = steady_now();
  const std::string url = shown_urls(options_.url);
  log::warning("bus disconnected", {{"url", url}});
  changed_.notify_all();  // who waits for room in the queue need not wait longer
  on_lost_();
  disconnect();
  for (int attempt = 0; wait_for_next_try(attempt); ++attempt) {
    const natsStatus status = connect();
    if (status != NATS_OK) {
      const bool seldom = attempt % kTriesLogged == kTriesLogged - 1;
      log::write(seldom ? log::Level::kWarning : log::Level::kDebug, "bus still disconnected",
                 {{"url", url}, {"tries", attempt + 1}, {"error", natsStatus_GetText(status)}});
      continue;
    }
    const std::lock_guard lock(mutex_);
    ++reconnects_;
    connected_ = !lost_;
    const auto away = std::chrono::duration_cast<milliseconds>(steady_now() - lost_at);
    log::info("bus reconnected", {{"url", url}, {"away_ms", away.count()}, {"tries", attempt + 1}});
    return true;
  }
  return false;
}

// False when the link closes meanwhile and no time or nothing is left to be sent.
bool NatsLink::Core::wait_for_next_try(int attempt) {
  const double random = std::uniform_real_distribution<double>()(random_);
  const TimePoint next = steady_now() + reconnect_wait(attempt, options_, random);
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, next, [&] { return close_deadline_.has_value(); });
  if (!close_deadline_) return true;
  if (tasks_.empty()) return false;
  while (changed_.wait_until(lock, std::min(next, *close_deadline_)) != std::cv_status::timeout) {
  }
  return steady_now() < *close_deadline_;
}

// Looks whether the draining has ended, and between two looks lets other tasks have their turn: handlers of what still
// comes in may publish.
void NatsLink::Core::await_drained(TimePoint deadline, std::function<void()> done) {
  while (!subscriptions_.empty()) {
    const auto& [id, subscribed] = *subscriptions_.begin();
    const natsStatus status = natsSubscription_WaitForDrainCompletion(subscribed.handle, kDrainLook.count());
    if (status == NATS_TIMEOUT && steady_now() < deadline) {
      enqueue([this, deadline, done = std::move(done)] { await_drained(deadline, done); });
      return;
    }
    Callbacks<Receive>::instance().remove(id);
    natsSubscription_Destroy(subscribed.handle);
    subscriptions_.erase(id);
  }
  done();
}

void NatsLink::Core::finish() {
  TimePoint deadline;
  std::deque<Task> unsent;
  std::function<void()> done;
  {
    const std::lock_guard lock(mutex_);
    deadline = *close_deadline_;
    unsent.swap(tasks_);
    done = std::move(close_done_);
  }
  const auto messages = std::count_if(unsent.begin(), unsent.end(),
                                      [](const Task& task) { return std::holds_alternative<Outgoing>(task); });
  if (messages > 0) log::warning("the bus closes with messages unsent", {{"messages", messages}});
  if (now_ != nullptr && batched_ != nullptr && steady_now() < deadline) {
    natsConnection_FlushTimeout(now_, ms_until(deadline));
    natsConnection_FlushTimeout(batched_, ms_until(deadline));
  }
  connected_ = false;
  for (const auto& [id, subscribed] : subscriptions_) Callbacks<Receive>::instance().remove(id);
  disconnect();
  if (done) done();
}

NatsLink::NatsLink(const BusOptions& options, std::function<void()> lost)
    : core_(std::make_shared<Core>(options, std::move(lost))) {
  core_->start();
}

NatsLink::~NatsLink() {
  end();
}

void NatsLink::end() {
  core_->close(steady_now() + kEndWaitMax, nullptr);
  core_->join();
}

void NatsLink::publish(Urgency urgency, std::string subject, std::string reply_to, std::string data) {
  core_->publish(urgency, std::move(subject), std::move(reply_to), std::move(data));
}

uint64_t NatsLink::subscribe(std::string subject, std::string queue_group, Receive receive) {
  return core_->subscribe(std::move(subject), std::move(queue_group), std::move(receive));
}

void NatsLink::unsubscribe(uint64_t id) {
  core_->unsubscribe(id);
}

void NatsLink::flush(TimePoint deadline, std::function<void(bool)> done) {
  core_->flush(deadline, std::move(done));
}

void NatsLink::drain(TimePoint deadline, std::function<void()> done) {
  core_->drain(deadline, std::move(done));
}

void NatsLink::close(TimePoint deadline, std::function<void()> done) {
  core_->close(deadline, std::move(done));
}

bool NatsLink::connected() const {
  return core_->connected();
}

int64_t NatsLink::payload_bytes_max() const {
  return core_->payload_bytes_max();
}

uint64_t NatsLink::published() const {
  return core_->published();
}

uint64_t NatsLink::reconnects() const {
  return core_->reconnects();
}

}  // namespace bellwether::mesh
