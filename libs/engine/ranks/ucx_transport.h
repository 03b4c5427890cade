// Messages between the ranks of a group over UCX's tag matching: what UcxCollective is built on.
#pragma once

#include <ucp/api/ucp.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace bellwether::engine {

// One process's end: UCX's context and worker.
class UcxWorker {
 public:
  UcxWorker();  // throws GroupBroken
  ~UcxWorker();
  UcxWorker(const UcxWorker&) = delete;
  UcxWorker& operator=(const UcxWorker&) = delete;

  [[nodiscard]] ucp_worker_h get() const { return worker_; }
  [[nodiscard]] int event_fd() const { return event_fd_; }  // readable when an armed worker has something to do
  // Which host it is on, if it may share memory there, and UCX's address.
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  ucp_context_h context_ = nullptr;
  ucp_worker_h worker_ = nullptr;
  int event_fd_ = -1;
  std::string address_;
};

// Wakes a thread that polls it.
class EventFd {
 public:
  EventFd();  // throws GroupBroken
  ~EventFd();
  EventFd(const EventFd&) = delete;
  EventFd& operator=(const EventFd&) = delete;
  [[nodiscard]] int get() const { return fd_; }
  void set();  // from any thread

 private:
  int fd_;
};

// For one thread, but for abort(). Whatever goes wrong breaks the transport: all messages are given up, so that no
// buffer is touched any more, and this and every later call throws GroupBroken.
class UcxTransport {
 public:
  using Limit = std::optional<std::chrono::milliseconds>;

  // addresses: of every rank's worker. Between ranks that share memory only wait()'s limit tells a loss; between others
  // UCX reports it at once.
  UcxTransport(UcxWorker& worker, int rank, std::span<const std::string> addresses);
  // Lets sent messages arrive before it closes, within a second.
  ~UcxTransport();
  UcxTransport(const UcxTransport&) = delete;
  UcxTransport& operator=(const UcxTransport&) = delete;

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int ranks() const { return static_cast<int>(links_.size()); }

  // Begin to send and to receive; the bytes must stay until wait() has returned or thrown. Messages between two ranks
  // match by `round`, and their sizes must be the same.
  void send(int to, uint64_t round, std::span<const std::byte> bytes);
  void receive(int from, uint64_t round, std::span<std::byte> bytes);

  // Returns when all that was begun is done. Breaks when that takes longer than `limit`.
  void wait(Limit limit);

  void abort();  // from any thread

  [[nodiscard]] std::string transports() const;

 private:
  using Clock = std::chrono::steady_clock;

  struct Pending {
    ucs_status_ptr_t request;
    int peer;
    size_t bytes;
    bool is_receive;
  };
  struct Link {
    ucp_ep_h endpoint = nullptr;
    ucp_err_handling_mode_t mode = UCP_ERR_HANDLING_MODE_NONE;
    ucs_status_t failure = UCS_OK;  // as UCX reports it
  };

  void require_whole();
  [[noreturn]] void break_up(std::string reason);
  void begin(const Pending& pending);
  void finish_done();
  void require_peers();
  void sleep_until(std::optional<Clock::time_point> deadline);
  void connect(int peer, const std::string& address, ucp_err_handling_mode_t mode);
  void close(Link& link, unsigned flags);
  void finish_closing(std::chrono::milliseconds limit);
  [[nodiscard]] std::string waited_for() const;
  static void on_failure(void* link, ucp_ep_h endpoint, ucs_status_t status);

  UcxWorker& worker_;
  int rank_;
  std::vector<Link> links_;  // by rank; without endpoint to itself
  std::vector<Pending> pending_;
  std::vector<ucs_status_ptr_t> closing_;
  std::string broken_;  // why; empty = whole
  EventFd abort_event_;
  std::atomic<bool> aborted_ = false;
};

}  // namespace bellwether::engine
