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

ThreadPool::ThreadPool(int threads) : threads_(threads), own_(std::make_unique<Own[]>(static_cast<size_t>(threads))) {
  workers_.reserve(static_cast<size_t>(threads) - 1);
  for (int thread = 1; thread < threads; ++thread) workers_.emplace_back([this, thread] { serve(thread); });
}

ThreadPool::~ThreadPool() {
  stopping_.store(true, std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_erased(int32_t tasks, Erased function, void* context) {
  function_ = function;
  context_ = context;
  tasks_ = tasks;
  done_.store(0, std::memory_order_relaxed);
  for (int64_t thread = 0, begin = 0; thread < threads_; ++thread) {
    const int64_t end = (thread + 1) * tasks / threads_;
    own_[thread].end = static_cast<int32_t>(end);
    own_[thread].left.store(static_cast<int32_t>(end - begin), std::memory_order_release);
    begin = end;
  }
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  work_off(0);
  for (int32_t done = done_.load(std::memory_order_acquire); done != tasks;
       done = done_.load(std::memory_order_acquire)) {
    wait_while(done_, done);
  }
}

// Takes tasks until none is left, its own first.
void ThreadPool::work_off(int thread) {
  for (int i = 0; i < threads_; ++i) {
    Own& own = own_[(thread + i) % threads_];
    for (int32_t left = own.left.load(std::memory_order_relaxed); left > 0;) {
      if (!own.left.compare_exchange_weak(left, left - 1, std::memory_order_acquire, std::memory_order_relaxed))
        continue;
      const int32_t tasks = tasks_;
      function_(context_, own.end - left, thread);
      if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == tasks) done_.notify_one();
      left = own.left.load(std::memory_order_relaxed);
    }
  }
}

void ThreadPool::serve(int thread) {
  for (uint32_t seen = 0; !stopping_.load(std::memory_order_relaxed);) {
    work_off(thread);
    wait_while(round_, seen);
    seen = round_.load(std::memory_order_acquire);
  }
}

int usable_cpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return std::max(1U, std::thread::hardware_concurrency());
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace bellwether::engine::cpu
