// Matrix products on all threads: jobs of like kind are cut into shares of about the same cost.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/cpu/matrix.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/thread_pool.h"

namespace bellwether::engine::cpu {

// y (rows, w.rows) = x (rows, w.cols) * w transposed
struct DotJob {
  const float* x;
  int64_t x_stride;  // floats from one row to the next
  int64_t rows;
  const Matrix* w;
  float* y;
  int64_t y_stride;
};

// What one output costs, in multiply-adds of vectors: the matrix unit takes as long for one row as for as many as it
// takes together.
[[nodiscard]] int64_t cost_of_output(const DotJob& job);

// Work of `units` equal units, such as the outputs of a matrix product.
struct WorkItem {
  int64_t units;
  int64_t unit_cost;  // multiply-adds; 1 or more
};

// Below this many multiply-adds, waking the other threads costs more than it saves.
inline constexpr int64_t kParallelCostMin = 16 * 1024;

inline constexpr int64_t kShareCostMin = 128 * 1024;

// Calls work(item, begin, end) so that every unit of every item is in exactly one range; ranges are
// cut at multiples of kPiece: those are computed together.
template <class Work>
void run_items(ThreadPool& pool, std::span<const WorkItem> items, Work&& work) {
  constexpr int64_t kPiece = 32;
  int64_t total = 0;
  for (const WorkItem& item : items) total += item.units * item.unit_cost;
  const auto run_share = [&](int64_t share, int64_t shares) {
    // This share is the cost from `first` up to `last`, and holds the pieces that begin there.
    const int64_t first = total / shares * share;
    const int64_t last = share + 1 == shares ? total + 1 : total / shares * (share + 1);
    int64_t before = 0;  // cost of the items so far
    for (int64_t i = 0; i < static_cast<int64_t>(items.size()); ++i) {
      const WorkItem& item = items[i];
      const int64_t piece_cost = kPiece * item.unit_cost;
      const auto pieces_before = [&](int64_t cost) {
        return cost <= before ? 0 : std::min(item.units, (cost - before + piece_cost - 1) / piece_cost * kPiece);
      };
      const int64_t begin = pieces_before(first);
      const int64_t end = pieces_before(last);
      if (begin < end) work(i, begin, end);
      before += item.units * item.unit_cost;
    }
  };
  if (pool.threads() == 1 || total < kParallelCostMin) return run_share(0, 1);
  // Threads that memory serves unequally, or that the machine delays, end at about the same time if shares are small;
  // but each share begins with waiting for memory.
  const int64_t shares = std::clamp<int64_t>(total / kShareCostMin, 2 * pool.threads(), 16 * pool.threads());
  pool.run(shares, [&](int64_t share, int) { run_share(share, shares); });
}

// Products of a thread pool's owner. Where the CPU has a matrix unit that takes the matrix (amx.h) it computes them;
// the others go through dot_rows() (kernels.h). So the arithmetic of a row follows from the matrix alone, never from
// the batch.
class Products {
 public:
  explicit Products(ThreadPool& pool) : pool_(pool) {}

  // Computes all of the jobs.
  void run(std::span<const DotJob> jobs);
  void run(const DotJob& job) { run({&job, 1}); }

  // In two parts, for who cuts the work himself. prepare() lays out what the jobs read; then compute(), on any thread,
  // gives outputs [begin, end) of job i of them. Neighbours that read the same rows share them.
  void prepare(std::span<const DotJob> jobs);
  void compute(const DotJob& job, int64_t i, int64_t begin, int64_t end) const;

 private:
  // Rows that are laid out together.
  struct Group {
    const float* x;
    int64_t x_stride;
    int64_t rows;
    int64_t width;
    int64_t cols;
    int64_t place;  // in packed_
  };

  int64_t add_groups(const DotJob& job, int64_t bytes);

  ThreadPool& pool_;
  std::vector<int64_t> place_;  // of each job's rows, in packed_; -1: read where they are
  std::vector<Group> groups_;
  std::vector<WorkItem> items_;
  Scratch<std::byte> packed_;
};

}  // namespace bellwether::engine::cpu
