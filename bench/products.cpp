// How fast one FP8 matrix is multiplied with few rows, from memory and from a cache, beside the speed of reading.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <random>
#include <vector>

#include "ceilings.h"
#include "engine/cpu/amx.h"
#include "engine/cpu/large_pages.h"
#include "engine/cpu/matmul.h"
#include "engine/cpu/matrix.h"
#include "engine/cpu/thread_pool.h"
#include "weights/float_formats.h"

namespace {

using namespace bellwether::engine::cpu;

constexpr int64_t kCols = 2048;
constexpr int64_t kMemoryRows = int64_t{1} << 18;  // 512 MiB
constexpr int64_t kCachedRows = 256;               // 512 KiB
constexpr int kRepeats = 5;

// An FP8 matrix whose values are spread as a trained model's, in the order in which this CPU multiplies it.
class Weights {
 public:
  Weights(int64_t rows, ThreadPool& pool) : scales_(static_cast<size_t>(rows / kScaleBlock * kCols / kScaleBlock), 1) {
    std::mt19937 random(1);
    std::normal_distribution<float> spread(0, 100);
    std::vector<std::byte> some(1 << 20);
    for (std::byte& code : some)
      code = std::byte{bellwether::weights::e4m3_of(std::clamp(spread(random), -448.0F, 448.0F))};
    std::byte* codes = pages_.allocate(rows * kCols);
    pool.for_each(rows, [&](int64_t row) {
      std::copy_n(some.data() + row * kCols % std::ssize(some), kCols, codes + row * kCols);
    });
    matrix_ = {.format = Matrix::Format::kFP8,
               .data = codes,
               .rows = rows,
               .cols = kCols,
               .stride = kCols,
               .scales = scales_.data(),
               .scale_stride = kCols / kScaleBlock};
    if (!amx::takes(matrix_)) return;
    std::byte* tiled = pages_.allocate(amx::tiled_bytes(matrix_));
    rare_lines_.resize(static_cast<size_t>(amx::tiled_units(matrix_)));
    pool.for_each(rows / amx::kUnitRows,
                  [&](int64_t unit) { amx::tile_rows(matrix_, unit * amx::kUnitRows, tiled, rare_lines_.data()); });
    matrix_.format = Matrix::Format::kTiledFP8;
    matrix_.data = tiled;
    matrix_.rare_lines = rare_lines_.data();
  }

  [[nodiscard]] const Matrix& matrix() const { return matrix_; }

 private:
  LargePages pages_;
  std::vector<float> scales_;
  std::vector<uint64_t> rare_lines_;
  Matrix matrix_;
};

// Bytes of weights in a second.
double measure(ThreadPool& pool, const Matrix& w, int64_t rows, int repeats) {
  Products products(pool);
  const std::vector<float> x(static_cast<size_t>(rows * kCols), 1);
  std::vector<float> y(static_cast<size_t>(rows * w.rows));
  const DotJob job{x.data(), kCols, rows, &w, y.data(), w.rows};
  products.prepare({&job, 1});
  double best = 1e30;
  for (int i = 0; i < kRepeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    if (repeats == 1) products.run(job);
    for (int j = 0; j < repeats && repeats > 1; ++j) products.compute(job, 0, 0, w.rows);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return static_cast<double>(w.bytes()) * repeats / best;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : usable_cpus();
  ThreadPool pool(threads);
  ThreadPool alone(1);
  std::vector<int64_t> row_counts = {1, 2, 3, 6, 8, 16, 32, 128};
  if (argc > 2) row_counts = {std::atoi(argv[2])};
  const Weights large(kMemoryRows, pool);
  const Weights small(kCachedRows, alone);
  fmt::print("{} threads read {:.1f} GB/s\n{:>6}{:>22}{:>22}\n", threads,
             bellwether::bench::read_bytes_per_second(pool) / 1e9, "rows", "from memory, GB/s",
             "from a cache, a thread");
  for (const int64_t rows : row_counts) {
    fmt::print("{:>6}{:>22.1f}{:>22.1f}\n", rows, measure(pool, large.matrix(), rows, 1) / 1e9,
               measure(alone, small.matrix(), rows, 200) / 1e9);
  }
}
