#include "load_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <string_view>

namespace bellwether::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kEvent = "data: ";
constexpr std::string_view kDone = "data: [DONE]";
constexpr std::string_view kEnd = "\r\n0\r\n\r\n";
constexpr std::string_view kError = "\"error\":";
constexpr size_t kCarryBytes = 16;  // longer than what is looked for

double ms_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

int connect_to(const std::string& address) {
  const size_t colon = address.rfind(':');
  sockaddr_in target{};
  target.sin_family = AF_INET;
  target.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
  inet_pton(AF_INET, address.substr(0, colon).c_str(), &target.sin_addr);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0) {
    ::close(fd);
    throw std::runtime_error("cannot connect to " + address);
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

struct Stream {
  explicit Stream(int socket) : fd(socket) {}
  ~Stream() { ::close(fd); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  int fd;
  bool busy = false;
  bool ok = false;   // the status line said 200
  bool bad = false;  // there is an error in the stream
  bool done = false;
  int64_t events = 0;
  Clock::time_point sent;
  std::string carry;  // the last bytes: what is looked for may be cut
};

class Load {
 public:
  Load(const LoadPlan& plan, void (*on_all_running)(void*), void* context)
      : plan_(plan), on_all_running_(on_all_running), context_(context), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}
  ~Load() { ::close(epoll_); }

  LoadResult run() {
    begin_ = Clock::now();
    while (ended_ < plan_.requests && Clock::now() - begin_ < plan_.time_max) {
      start_due();
      poll();
      sample();
    }
    result_.failed += started_ - ended_ + (plan_.requests - started_);
    result_.seconds = ms_between(begin_, Clock::now()) / 1000;
    std::sort(result_.first_event_ms.begin(), result_.first_event_ms.end());
    if (full_begin_ != Clock::time_point() && full_last_ > full_begin_) {
      result_.events_per_s_sustained =
          static_cast<double>(full_events_last_ - full_events_begin_) / ms_between(full_begin_, full_last_) * 1000;
    }
    return std::move(result_);
  }

 private:
  [[nodiscard]] Clock::time_point due(int64_t request) const {
    if (plan_.requests_per_s <= 0) return begin_;
    return begin_ + std::chrono::duration_cast<Clock::duration>(
                        std::chrono::duration<double>(static_cast<double>(request) / plan_.requests_per_s));
  }

  void start_due() {
    while (started_ < plan_.requests && due(started_) <= Clock::now()) {
      Stream& stream = free_stream();
      stream.busy = true;
      stream.ok = stream.bad = stream.done = false;
      stream.events = 0;
      stream.carry.clear();
      // From when it was due: a client that is late must not make the server look fast.
      stream.sent = plan_.requests_per_s > 0 ? due(started_) : Clock::now();
      ++started_;
      if (::send(stream.fd, plan_.request.data(), plan_.request.size(), MSG_NOSIGNAL) !=
          static_cast<ssize_t>(plan_.request.size())) {
        end(stream, false);
      }
      result_.running_max = std::max(result_.running_max, started_ - ended_);
      if (plan_.requests_per_s <= 0 && started_ % 16 == 0) poll();
    }
  }

  Stream& free_stream() {
    while (!free_.empty()) {
      Stream* stream = free_.back();
      free_.pop_back();
      return *stream;
    }
    streams_.push_back(std::make_unique<Stream>(connect_to(plan_.address)));
    Stream& stream = *streams_.back();
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &stream;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, stream.fd, &event);
    return stream;
  }

  void poll() {
    std::array<epoll_event, 512> events;
    int timeout_ms = 100;
    if (started_ < plan_.requests) {
      const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(due(started_) - Clock::now());
      timeout_ms = static_cast<int>(std::clamp<int64_t>(wait.count(), 0, 100));
    }
    const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout_ms);
    const Clock::time_point now = Clock::now();
    for (int i = 0; i < count; ++i) read(*static_cast<Stream*>(events[static_cast<size_t>(i)].data.ptr), now);
  }

  void read(Stream& stream, Clock::time_point now) {
    static std::array<char, 256 * 1024> bytes;
    const ssize_t count = ::recv(stream.fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count < 0) return;
    if (count == 0) return lose(stream);
    if (!stream.busy) return;
    const size_t old = stream.carry.size();
    stream.carry.append(bytes.data(), static_cast<size_t>(count));
    const std::string_view text = stream.carry;
    if (!stream.ok && stream.events == 0) stream.ok = text.starts_with("HTTP/1.1 200");
    count_events(stream, text, old, now);
    if (text.find(kError) != std::string_view::npos) stream.bad = true;
    if (!stream.ok && result_.first_failure.empty()) result_.first_failure = text.substr(0, 400);
    if (text.ends_with(kEnd)) return end(stream, stream.ok && stream.done && !stream.bad);
    if (!stream.ok && text.size() > 12) return end(stream, false);
    stream.carry.erase(0, stream.carry.size() - std::min(stream.carry.size(), kCarryBytes));
  }

  // `old` bytes at the front were looked at before.
  void count_events(Stream& stream, std::string_view text, size_t old, Clock::time_point now) {
    const size_t begin = old >= kEvent.size() ? old - (kEvent.size() - 1) : 0;
    for (size_t at = text.find(kEvent, begin); at != std::string_view::npos; at = text.find(kEvent, at + 1)) {
      if (stream.events++ == 0) result_.first_event_ms.push_back(ms_between(stream.sent, now));
      ++result_.events;
    }
    const size_t done_begin = old >= kDone.size() ? old - (kDone.size() - 1) : 0;
    if (!stream.done && text.find(kDone, done_begin) != std::string_view::npos) {
      stream.done = true;
      --result_.events;
    }
  }

  void end(Stream& stream, bool well) {
    stream.busy = false;
    ++ended_;
    if (well) {
      free_.push_back(&stream);
    } else {
      ++result_.failed;
    }
  }

  void lose(Stream& stream) {
    epoll_ctl(epoll_, EPOLL_CTL_DEL, stream.fd, nullptr);
    if (stream.busy) return end(stream, false);
    std::erase(free_, &stream);
  }

  void sample() {
    const int64_t running = started_ - ended_;
    if (running == plan_.requests && on_all_running_ != nullptr) {
      on_all_running_(context_);
      on_all_running_ = nullptr;
    }
    if (running * 10 < plan_.requests * 9) return;
    const Clock::time_point now = Clock::now();
    if (full_begin_ == Clock::time_point()) {
      full_begin_ = now;
      full_events_begin_ = result_.events;
    }
    full_last_ = now;
    full_events_last_ = result_.events;
  }

  const LoadPlan& plan_;
  void (*on_all_running_)(void*);
  void* context_;
  int epoll_;
  Clock::time_point begin_;
  int64_t started_ = 0;
  int64_t ended_ = 0;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::vector<Stream*> free_;
  LoadResult result_;
  Clock::time_point full_begin_;
  Clock::time_point full_last_;
  int64_t full_events_begin_ = 0;
  int64_t full_events_last_ = 0;
};

}  // namespace

double LoadResult::first_event_ms_at(double quantile) const {
  if (first_event_ms.empty()) return std::nan("");
  const auto last = static_cast<double>(first_event_ms.size() - 1);
  return first_event_ms[static_cast<size_t>(std::llround(quantile * last))];
}

LoadResult run_load(const LoadPlan& plan, void (*on_all_running)(void*), void* context) {
  return Load(plan, on_all_running, context).run();
}

}  // namespace bellwether::bench
