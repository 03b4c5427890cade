#include "engine/cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <mutex>
#include <set>

#include "engine/cpu/matmul.h"

namespace bellwether::engine::cpu {
namespace {

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int round = 0; round < 300; ++round) {
      const int64_t tasks = round % 13;
      std::vector<int> calls(static_cast<size_t>(tasks));
      pool.run(tasks, [&](int64_t task, int) { ++calls[task]; });
      EXPECT_EQ(calls, std::vector<int>(calls.size(), 1));
      std::vector<int> items(static_cast<size_t>(round));
      pool.for_each(round, [&](int64_t i) { ++items[i]; });
      EXPECT_EQ(items, std::vector<int>(items.size(), 1));
    }
  }
}

TEST(ThreadPool, NoTwoTasksOfOneThreadOverlap) {
  ThreadPool pool(3);
  std::vector<int> inside(3);  // not atomic: a race would be one thread number given to two threads
  for (int round = 0; round < 500; ++round) {
    pool.run(8, [&](int64_t, int thread) {
      EXPECT_EQ(++inside[thread], 1);
      --inside[thread];
    });
  }
}

TEST(ThreadPool, AStopBetweenRoundsLosesNothing) {
  ThreadPool pool(2);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // long enough that the workers fall asleep
    std::atomic<int> calls = 0;
    pool.run(4, [&](int64_t, int) { ++calls; });
    EXPECT_EQ(calls, 4);
  }
}

TEST(RunItems, EveryUnitIsInOneRange) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int64_t seed = 1; seed < 60; ++seed) {
      std::vector<WorkItem> items;
      for (int64_t i = 0; i < seed % 5 + 1; ++i) {
        items.push_back({.units = (seed * 37 + i * 101) % 300 + 1, .unit_cost = (seed * i * 13) % 1000 + 1});
      }
      std::mutex mutex;
      std::set<std::pair<int64_t, int64_t>> units;
      int64_t count = 0;
      run_items(pool, items, [&](int64_t item, int64_t begin, int64_t end) {
        const std::scoped_lock lock(mutex);
        for (int64_t unit = begin; unit < end; ++unit, ++count) units.insert({item, unit});
      });
      int64_t expected = 0;
      for (const WorkItem& item : items) expected += item.units;
      EXPECT_EQ(count, expected);
      EXPECT_EQ(std::ssize(units), expected);
    }
  }
}

}  // namespace
}  // namespace bellwether::engine::cpu
