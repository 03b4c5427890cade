#include "engine/ranks/ucx_transport.h"

#include <fmt/format.h>
#include <hwy/cache_control.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>
#include <utility>

#include "engine/ranks/collective.h"

namespace bellwether::engine {
namespace {

using std::chrono::microseconds;

// A message that is under way already arrives within microseconds. After that the CPU is offered to others, for the
// peer may be waiting for it; and after as long as it takes to compute something, it is given up altogether.
constexpr int kSpins = 100;
constexpr microseconds kYieldTime{500};
constexpr std::chrono::milliseconds kCloseTimeMax{1000};
constexpr std::chrono::milliseconds kGiveUpTimeMax{100};

void require_ok(ucs_status_t status, const char* what) {
  if (status != UCS_OK) throw GroupBroken(fmt::format("UCX: {}: {}", what, ucs_status_string(status)));
}

// What `print` writes: some things UCX tells in prose only.
template <class Print>
std::string printed(Print print) {
  char* text = nullptr;
  size_t size = 0;
  std::FILE* stream = open_memstream(&text, &size);
  if (stream == nullptr) return {};
  print(stream);
  std::fclose(stream);
  std::string copy(text, size);
  std::free(text);
  return copy;
}

// The transports that UCX has chosen for an endpoint, from lines such as
// "#   lane[0]:  2:posix/memory.0 md[2] -> md[2]/posix/sysdev[255] am am_bw#0".
std::set<std::string> transports_of(ucp_ep_h endpoint) {
  std::istringstream lines(printed([&](std::FILE* stream) { ucp_ep_print_info(endpoint, stream); }));
  std::set<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    const size_t lane = line.find("lane[");
    const size_t slash = line.find('/', lane == std::string::npos ? line.size() : lane);
    if (lane == std::string::npos || slash == std::string::npos) continue;
    const size_t begin = line.rfind(':', slash) + 1;
    names.insert(line.substr(begin, line.find_first_of(". ", slash) - begin));
  }
  return names;
}

bool is_shared_memory(const std::set<std::string>& transports) {
  return !transports.empty() &&
         std::ranges::all_of(transports, [](const std::string& name) { return name.ends_with("/memory"); });
}

// An address begins with the host's boot id where UCX may use shared memory, and with as many zeros where it may not.
constexpr size_t kHostIdBytes = 36;

std::string host_id_of(ucp_context_h context) {
  const std::string resources = printed([&](std::FILE* stream) { ucp_context_print_info(context, stream); });
  std::string id(kHostIdBytes, '\0');
  if (resources.find("posix/memory") != std::string::npos || resources.find("sysv/memory") != std::string::npos) {
    std::ifstream("/proc/sys/kernel/random/boot_id").read(id.data(), kHostIdBytes);
  }
  return id;
}

bool may_share_memory(std::string_view address, std::string_view other) {
  const std::string_view host = address.substr(0, kHostIdBytes);
  return host == other.substr(0, kHostIdBytes) && host.find_first_not_of('\0') != std::string_view::npos;
}

uint64_t tag_of(uint64_t round, int from) {
  return round << 16 | static_cast<uint64_t>(from);
}

}  // namespace

UcxWorker::UcxWorker() {
  ucp_config_t* config = nullptr;
  require_ok(ucp_config_read(nullptr, nullptr, &config), "its configuration");
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES;
  params.features = UCP_FEATURE_TAG | UCP_FEATURE_WAKEUP;
  const ucs_status_t status = ucp_init(&params, config, &context_);
  ucp_config_release(config);
  require_ok(status, "no usable transport");
  ucp_worker_params_t worker_params{};
  worker_params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  worker_params.thread_mode = UCS_THREAD_MODE_SERIALIZED;  // made by one thread, used by another
  ucp_address_t* address = nullptr;
  size_t size = 0;
  try {
    require_ok(ucp_worker_create(context_, &worker_params, &worker_), "its worker");
    require_ok(ucp_worker_get_efd(worker_, &event_fd_), "its events");
    require_ok(ucp_worker_get_address(worker_, &address, &size), "its address");
  } catch (const GroupBroken&) {
    if (worker_ != nullptr) ucp_worker_destroy(worker_);
    ucp_cleanup(context_);
    throw;
  }
  address_ = host_id_of(context_);
  address_.append(reinterpret_cast<const char*>(address), size);
  ucp_worker_release_address(worker_, address);
}

UcxWorker::~UcxWorker() {
  ucp_worker_destroy(worker_);
  ucp_cleanup(context_);
}

EventFd::EventFd() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (fd_ < 0) throw GroupBroken("the process has too many open files");
}

EventFd::~EventFd() {
  close(fd_);
}

void EventFd::set() {
  const uint64_t one = 1;
  // Fails only when it is at its maximum, which wakes as well.
  [[maybe_unused]] const auto written = write(fd_, &one, sizeof one);
}

UcxTransport::UcxTransport(UcxWorker& worker, int rank, std::span<const std::string> addresses)
    : worker_(worker), rank_(rank), links_(addresses.size()) {
  for (int peer = 0; peer < ranks(); ++peer) {
    if (peer == rank) continue;
    const std::string& address = addresses[static_cast<size_t>(peer)];
    if (may_share_memory(worker.address(), address)) {
      connect(peer, address, UCP_ERR_HANDLING_MODE_NONE);
      if (is_shared_memory(transports_of(links_[peer].endpoint))) continue;
      close(links_[peer], 0);  // containers of one host do not share memory
    }
    connect(peer, address, UCP_ERR_HANDLING_MODE_PEER);
  }
  finish_closing(kGiveUpTimeMax);
}

// UCX 1.13 does not notice that a peer in shared memory is lost, and takes another transport for an endpoint that is to
// notice; wait()'s limit has to do. On other transports the loss of a peer that is not to be noticed ends the process,
// even when its endpoint has been closed: such an endpoint is made only where memory is likely to be shared.
void UcxTransport::connect(int peer, const std::string& address, ucp_err_handling_mode_t mode) {
  if (address.size() <= kHostIdBytes) break_up(fmt::format("rank {} has no address", peer));
  ucp_ep_params_t params{};
  params.field_mask =
      UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.address = reinterpret_cast<const ucp_address_t*>(address.data() + kHostIdBytes);
  params.err_mode = mode;
  params.err_handler.cb = on_failure;
  params.err_handler.arg = &links_[peer];
  const ucs_status_t status = ucp_ep_create(worker_.get(), &params, &links_[peer].endpoint);
  if (status != UCS_OK) break_up(fmt::format("rank {} cannot be reached: {}", peer, ucs_status_string(status)));
  links_[peer].mode = mode;
}

UcxTransport::~UcxTransport() {
  for (Link& link : links_) close(link, 0);
  finish_closing(kCloseTimeMax);
}

void UcxTransport::on_failure(void* link, ucp_ep_h /*endpoint*/, ucs_status_t status) {
  static_cast<Link*>(link)->failure = status;
}

void UcxTransport::require_whole() {
  if (!broken_.empty()) throw GroupBroken(broken_);
}

void UcxTransport::send(int to, uint64_t round, std::span<const std::byte> bytes) {
  require_whole();
  const ucp_request_param_t param{};
  const auto request = ucp_tag_send_nbx(links_[to].endpoint, bytes.data(), bytes.size(), tag_of(round, rank_), &param);
  begin({.request = request, .peer = to, .bytes = bytes.size(), .is_receive = false});
}

void UcxTransport::receive(int from, uint64_t round, std::span<std::byte> bytes) {
  require_whole();
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FLAG_NO_IMM_CMPL;  // UCX 1.13 does not tell the size of what is received at once
  const auto request =
      ucp_tag_recv_nbx(worker_.get(), bytes.data(), bytes.size(), tag_of(round, from), ~uint64_t{0}, &param);
  begin({.request = request, .peer = from, .bytes = bytes.size(), .is_receive = true});
}

void UcxTransport::begin(const Pending& pending) {
  if (UCS_PTR_IS_ERR(pending.request)) {
    break_up(fmt::format("rank {} is lost: {}", pending.peer, ucs_status_string(UCS_PTR_STATUS(pending.request))));
  }
  if (pending.request != nullptr) pending_.push_back(pending);  // else it was sent at once
}

void UcxTransport::finish_done() {
  for (size_t i = 0; i < pending_.size();) {
    const Pending pending = pending_[i];
    ucp_tag_recv_info_t info{.sender_tag = 0, .length = pending.bytes};
    const ucs_status_t status = pending.is_receive ? ucp_tag_recv_request_test(pending.request, &info)
                                                   : ucp_request_check_status(pending.request);
    if (status == UCS_INPROGRESS) {
      ++i;
      continue;
    }
    ucp_request_free(pending.request);
    pending_[i] = pending_.back();
    pending_.pop_back();
    if (status != UCS_OK) break_up(fmt::format("rank {} is lost: {}", pending.peer, ucs_status_string(status)));
    if (info.length != pending.bytes) {
      break_up(fmt::format("rank {} sent {} bytes where {} were expected", pending.peer, info.length, pending.bytes));
    }
  }
}

void UcxTransport::wait(Limit limit) {
  require_whole();
  Clock::time_point began;
  for (int spins = 0;; ++spins) {
    ucp_worker_progress(worker_.get());
    if (aborted_.load(std::memory_order_relaxed)) break_up("the group was told to break up");
    finish_done();
    if (pending_.empty()) return;
    require_peers();
    if (spins < kSpins) {
      hwy::Pause();
      continue;
    }
    const Clock::time_point now = Clock::now();
    if (spins == kSpins) began = now;
    if (limit && now - began > *limit) break_up(waited_for());
    if (now - began < kYieldTime) {
      sched_yield();
    } else {
      sleep_until(limit ? std::optional(began + *limit) : std::nullopt);
    }
  }
}

// A rank that is gone matters when something is still expected of it: one that has done all its part may leave.
void UcxTransport::require_peers() {
  const auto gone = [&](const Pending& pending) { return links_[pending.peer].failure != UCS_OK; };
  if (std::ranges::none_of(pending_, gone)) return;
  while (ucp_worker_progress(worker_.get()) > 0) {
  }
  finish_done();  // what it sent before
  const auto lost = std::ranges::find_if(pending_, gone);
  if (lost == pending_.end()) return;
  break_up(fmt::format("rank {} is lost: {}", lost->peer, ucs_status_string(links_[lost->peer].failure)));
}

// Until something has come, or abort(), or the deadline.
void UcxTransport::sleep_until(std::optional<Clock::time_point> deadline) {
  const ucs_status_t status = ucp_worker_arm(worker_.get());
  if (status == UCS_ERR_BUSY) return;  // something has come
  if (status != UCS_OK) break_up(fmt::format("UCX: it cannot wait: {}", ucs_status_string(status)));
  std::array<pollfd, 2> fds = {pollfd{.fd = worker_.event_fd(), .events = POLLIN, .revents = 0},
                               pollfd{.fd = abort_event_.get(), .events = POLLIN, .revents = 0}};
  int timeout_ms = -1;
  if (deadline) {
    timeout_ms = static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now()).count());
    if (timeout_ms < 0) timeout_ms = 0;
  }
  poll(fds.data(), fds.size(), timeout_ms);  // wait() looks at what happened
}

std::string UcxTransport::waited_for() const {
  std::set<int> peers;
  for (const Pending& pending : pending_) peers.insert(pending.peer);
  return fmt::format("rank {} does not advance", fmt::join(peers, ", "));
}

void UcxTransport::abort() {
  aborted_.store(true, std::memory_order_relaxed);
  abort_event_.set();
}

// An endpoint that does not notice losses cannot be made to give up either; it ends with the worker, which does nothing
// any more.
void UcxTransport::break_up(std::string reason) {
  broken_ = std::move(reason);
  for (const Pending& pending : std::exchange(pending_, {})) {
    ucp_request_cancel(worker_.get(), pending.request);
    closing_.push_back(pending.request);
  }
  for (Link& link : links_) {
    if (link.mode == UCP_ERR_HANDLING_MODE_PEER) close(link, UCP_EP_CLOSE_FLAG_FORCE);
    link.endpoint = nullptr;
  }
  finish_closing(kGiveUpTimeMax);
  throw GroupBroken(broken_);
}

// Without flags, what was sent arrives first.
void UcxTransport::close(Link& link, unsigned flags) {
  if (link.endpoint == nullptr) return;
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = flags;
  const auto request = ucp_ep_close_nbx(std::exchange(link.endpoint, nullptr), &param);
  if (UCS_PTR_IS_PTR(request)) closing_.push_back(request);
}

// Waits until what is being closed is closed; what takes longer goes on without being looked at.
void UcxTransport::finish_closing(std::chrono::milliseconds limit) {
  const Clock::time_point deadline = Clock::now() + limit;
  while (!closing_.empty() && Clock::now() < deadline) {
    ucp_worker_progress(worker_.get());
    std::erase_if(closing_, [](ucs_status_ptr_t request) {
      if (ucp_request_check_status(request) == UCS_INPROGRESS) return false;
      ucp_request_free(request);
      return true;
    });
  }
  for (ucs_status_ptr_t request : std::exchange(closing_, {})) ucp_request_free(request);
}

std::string UcxTransport::transports() const {
  std::set<std::string> names;
  for (const Link& link : links_) {
    if (link.endpoint != nullptr) names.merge(transports_of(link.endpoint));
  }
  return fmt::format("{}", fmt::join(names, " "));
}

}  // namespace bellwether::engine
