#include "engine/cpu/thread_pool.h"

#include <hwy/cache_control.h>
#include <sched.h>

#include <algorithm>

namespace bellwether::engine::cpu {
namespace {

// Some tens of microseconds: as long as the pauses between the parts of one layer, but short beside a time slice, for
// the machine may be shared.
constexpr int kSpinsMax = 1000;

// Returns when `value` is no longer `old`: first by looking often, then asleep.
template <class T>
void wait_while(const std::atomic<T>& value, T old) {
  for (int spin = 0; spin < kSpinsMax; ++spin) {
    if (value.load(std::memory_order_acquire) != old) return;
    hwy::Pause();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  workers_.reserve(static_cast<size_t>(threads) - 1);
  for (int thread = 1; thread < threads; ++thread) workers_.emplace_back([this, thread] { serve(thread); });
}

ThreadPool::~ThreadPool() {
  stopping_.store(true, std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_erased(Erased function, void* context) {
  function_ = function;
  context_ = context;
  working_.store(static_cast<int32_t>(workers_.size()), std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  function(context, 0);
  for (int32_t left = working_.load(std::memory_order_acquire); left != 0;
       left = working_.load(std::memory_order_acquire)) {
    wait_while(working_, left);
  }
}

void ThreadPool::serve(int thread) {
  for (uint32_t done = 0;; ++done) {
    wait_while(round_, done);
    if (stopping_.load(std::memory_order_relaxed)) return;
    function_(context_, thread);
    if (working_.fetch_sub(1, std::memory_order_acq_rel) == 1) working_.notify_one();
  }
}

int usable_cpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return std::max(1U, std::thread::hardware_concurrency());
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace bellwether::engine::cpu
