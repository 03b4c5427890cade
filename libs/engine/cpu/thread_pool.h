// Threads that compute one thing together, again and again, with little time between.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace bellwether::engine::cpu {

// run() and for_each() are for one thread, the owner; it takes part in the work. Nothing is allocated after
// construction.
class ThreadPool {
 public:
  // REQUIRES: threads >= 1, the owner counted.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(thread) once for each thread from 0 to threads() - 1, at the same time; returns when all are done.
  // REQUIRES: work throws nothing.
  template <class Work>
  void run(Work&& work) {
    using Function = std::remove_reference_t<Work>;
    run_erased([](void* context, int thread) { (*static_cast<Function*>(context))(thread); },
               const_cast<std::remove_const_t<Function>*>(&work));
  }

  // Calls work(i) for i from 0 to count - 1, dealt to the threads in turn: neighbours, which often cost alike, go to
  // different threads.
  template <class Work>
  void for_each(int64_t count, Work&& work) {
    if (count == 1) return work(int64_t{0});
    run([&](int thread) {
      for (int64_t i = thread; i < count; i += threads()) work(i);
    });
  }

 private:
  using Erased = void (*)(void* context, int thread);
  void run_erased(Erased function, void* context);
  void serve(int thread);

  Erased function_ = nullptr;  // written before round_ moves, read after
  void* context_ = nullptr;
  std::atomic<uint32_t> round_ = 0;   // moves when there is work, or the end
  std::atomic<int32_t> working_ = 0;  // workers that have not finished this round
  std::atomic<bool> stopping_ = false;
  std::vector<std::thread> workers_;
};

// CPUs that this process may run on; at least 1.
[[nodiscard]] int usable_cpus();

}  // namespace bellwether::engine::cpu
