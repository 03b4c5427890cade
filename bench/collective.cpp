// How long two ranks of one machine take to add up a few KB, beside the least that two processes need to exchange as
// much through shared memory.
#include <fmt/format.h>
#include <hwy/cache_control.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "engine/ranks/ucx_collective.h"

namespace {

using bellwether::engine::UcxCollective;
using bellwether::engine::UcxEndpoint;
using Clock = std::chrono::steady_clock;

constexpr int kRounds = 5'000;
constexpr size_t kBytesMax = 1 << 20;

// What both processes map: each writes its own half.
struct Mailbox {
  alignas(64) std::atomic<uint32_t> round;
  alignas(64) float data[kBytesMax / sizeof(float)];
};

double microseconds(Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

struct Times {
  double median = 0;
  double best_hundredth = 0;
};

template <class Round>
Times measure(int rounds, Round round) {
  for (int i = 0; i < rounds / 10; ++i) round();
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    const auto began = Clock::now();
    round();
    times.push_back(microseconds(Clock::now() - began));
  }
  std::ranges::sort(times);
  return {.median = times[times.size() / 2], .best_hundredth = times[times.size() / 100]};
}

// Both write, both wait, both add up: the same result without any protocol.
void add_up_bare(Mailbox& mine, const Mailbox& other, std::vector<float>& data) {
  const uint32_t round = mine.round.load(std::memory_order_relaxed) + 1;
  // Two halves in turn, for the other may still read what was written before.
  float* out = mine.data + round % 2 * (kBytesMax / sizeof(float) / 2);
  const float* in = other.data + round % 2 * (kBytesMax / sizeof(float) / 2);
  std::memcpy(out, data.data(), data.size() * sizeof(float));
  mine.round.store(round, std::memory_order_release);
  for (int spins = 0; static_cast<int32_t>(other.round.load(std::memory_order_acquire) - round) < 0; ++spins) {
    hwy::Pause();
    if (spins > 1000) sched_yield();  // the other may want this CPU
  }
  for (size_t i = 0; i < data.size(); ++i) data[i] += in[i];
}

std::string exchange_address(int fd, const std::string& mine) {
  const size_t size = mine.size();
  if (write(fd, &size, sizeof size) != sizeof size || write(fd, mine.data(), size) != std::ssize(mine)) std::abort();
  size_t other_size = 0;
  if (read(fd, &other_size, sizeof other_size) != sizeof other_size) std::abort();
  std::string other(other_size, '\0');
  if (recv(fd, other.data(), other_size, MSG_WAITALL) != std::ssize(other)) std::abort();
  return other;
}

void run(int rank, int fd, Mailbox* mailboxes) {
  UcxEndpoint endpoint;
  std::vector<std::string> addresses(2);
  addresses[static_cast<size_t>(rank)] = endpoint.address();
  addresses[static_cast<size_t>(1 - rank)] = exchange_address(fd, endpoint.address());
  const auto group = UcxCollective::connect(std::move(endpoint), rank, addresses);
  if (rank == 0) {
    fmt::print("two ranks, transports {}; microseconds, median and 1st percentile\n", group->transports());
    fmt::print("{:>10} {:>20} {:>20}\n", "bytes", "all_reduce", "bare shared memory");
  }
  for (const size_t bytes : {1 << 10, 4 << 10, 16 << 10, 128 << 10, 512 << 10}) {
    std::vector<float> data(bytes / sizeof(float));
    const int rounds = static_cast<int>(std::min<size_t>(kRounds, (size_t{1} << 28) / bytes));
    const Times ucx = measure(rounds, [&] { group->all_reduce(data); });
    const Times bare = measure(rounds, [&] { add_up_bare(mailboxes[rank], mailboxes[1 - rank], data); });
    if (rank != 0) continue;
    fmt::print("{:>10} {:>12.2f} {:>7.2f} {:>12.2f} {:>7.2f}\n", bytes, ucx.median, ucx.best_hundredth, bare.median,
               bare.best_hundredth);
    std::fflush(stdout);
  }
}

}  // namespace

int main() {
  void* shared = mmap(nullptr, 2 * sizeof(Mailbox), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int fds[2];
  if (shared == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) {
    fmt::print(stderr, "no shared memory or no socket\n");
    return 1;
  }
  auto* mailboxes = static_cast<Mailbox*>(shared);  // zeros are a valid beginning
  const pid_t child = fork();
  try {
    run(child == 0 ? 1 : 0, fds[child == 0 ? 1 : 0], mailboxes);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  if (child > 0) waitpid(child, nullptr, 0);
  return 0;
}
