// Threads that compute one thing together, again and again, with little time between.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace bellwether::engine::cpu {

// run() and for_each() are for one thread, the owner; it takes part in the work as thread 0. Each thread has
// neighbouring tasks of its own, takes the next of them when it has finished one, and then others' that are left: what
// it reads lies in a row, and a thread that the machine keeps busy with other things delays at most one task.
// Nothing is allocated after construction.
class ThreadPool {
 public:
  // REQUIRES: threads >= 1, the owner counted.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] int threads() const { return threads_; }

  // Calls work(task, thread) once for each task from 0 to tasks - 1; returns when all are done. No two calls with one
  // `thread` overlap. REQUIRES: tasks < 2^31; work throws nothing and does not use the pool.
  template <class Work>
  void run(int64_t tasks, Work&& work) {
    if (tasks == 1 || threads_ == 1) {
      for (int64_t task = 0; task < tasks; ++task) work(task, 0);
      return;
    }
    using Function = std::remove_reference_t<Work>;
    run_erased(
        static_cast<int32_t>(tasks),
        [](void* context, int64_t task, int thread) { (*static_cast<Function*>(context))(task, thread); },
        const_cast<std::remove_const_t<Function>*>(&work));
  }

  // Calls work(i) for i from 0 to count - 1, in pieces of neighbours.
  template <class Work>
  void for_each(int64_t count, Work&& work) {
    const int64_t tasks = std::min<int64_t>(count, 8 * threads());
    run(tasks, [&](int64_t task, int) {
      for (int64_t i = count * task / tasks; i < count * (task + 1) / tasks; ++i) work(i);
    });
  }

 private:
  using Erased = void (*)(void* context, int64_t task, int thread);
  void run_erased(int32_t tasks, Erased function, void* context);
  void work_off(int thread);
  void serve(int thread);

  // A thread's own tasks.
  struct alignas(64) Own {
    std::atomic<int32_t> left = 0;  // not taken yet, the last ones before `end`
    int32_t end = 0;
  };

  const int threads_;

  // Written before any `left` is set, and read only by who has taken a task, until which is done no other work begins.
  Erased function_ = nullptr;
  void* context_ = nullptr;
  int32_t tasks_ = 0;
  std::unique_ptr<Own[]> own_;  // (threads); `end` is such a thing as well

  alignas(64) std::atomic<int32_t> done_ = 0;  // tasks finished
  std::atomic<uint32_t> round_ = 0;            // moves when there is work, or the end
  std::atomic<bool> stopping_ = false;
  std::vector<std::thread> workers_;
};

// CPUs that this process may run on; at least 1.
[[nodiscard]] int usable_cpus();

}  // namespace bellwether::engine::cpu
