#include "engine/cpu/matmul.h"

#include "engine/cpu/amx.h"
#include "engine/cpu/kernels.h"

namespace bellwether::engine::cpu {
namespace {

// Below this many bytes, laying them out takes less time than waking the other threads.
constexpr int64_t kParallelPackMin = 64 * 1024;

bool reads_same(const DotJob& a, const DotJob& b) {
  return a.x == b.x && a.x_stride == b.x_stride && a.rows == b.rows && a.is_prompt == b.is_prompt &&
         a.w->cols == b.w->cols && amx::takes(*a.w) == amx::takes(*b.w);
}

}  // namespace

// Returns how many bytes of packed_ are in use then.
int64_t Products::add_runs(const DotJob& job, int64_t bytes) {
  const bool is_taken = job.is_prompt != nullptr && amx::enabled() && amx::takes(*job.w);
  for (int64_t row = 0, end = 0; row < job.rows; row = end) {
    const bool is_packed = is_taken && job.is_prompt[row] != 0;
    for (end = row + 1; end < job.rows && is_packed == (is_taken && job.is_prompt[end] != 0);) ++end;
    runs_.push_back({.row = row, .rows = end - row, .place = is_packed ? bytes : -1});
    if (!is_packed) continue;
    for (int64_t first = row; first < end; first += amx::kGroupRows) {
      groups_.push_back({.x = job.x + first * job.x_stride,
                         .x_stride = job.x_stride,
                         .rows = std::min(amx::kGroupRows, end - first),
                         .cols = job.w->cols,
                         .place = bytes + amx::packed_bytes(first - row, job.w->cols)});
    }
    bytes += amx::packed_bytes(end - row, job.w->cols);
  }
  return bytes;
}

void Products::prepare(std::span<const DotJob> jobs) {
  runs_.clear();
  runs_of_.clear();
  groups_.clear();
  int64_t bytes = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (i > 0 && reads_same(jobs[i - 1], jobs[i])) {
      runs_of_.push_back(runs_of_.back());
      continue;
    }
    const size_t begin = runs_.size();
    bytes = add_runs(jobs[i], bytes);
    runs_of_.push_back({begin, runs_.size()});
  }
  if (groups_.empty()) return;
  std::byte* packed = packed_.at_least(bytes);
  const auto pack = [&](int64_t i) {
    const Group& group = groups_[i];
    amx::pack_group(group.x, group.x_stride, group.rows, group.cols, packed + group.place);
  };
  if (bytes < kParallelPackMin) {
    for (int64_t i = 0; i < std::ssize(groups_); ++i) pack(i);
  } else {
    pool_.for_each(std::ssize(groups_), pack);
  }
}

void Products::compute(const DotJob& job, int64_t i, int64_t begin, int64_t end) const {
  for (size_t r = runs_of_[i].begin; r < runs_of_[i].end; ++r) {
    const Run& run = runs_[r];
    float* y = job.y + run.row * job.y_stride + begin;
    if (run.place < 0) {
      dot_rows(job.x + run.row * job.x_stride, job.x_stride, run.rows, *job.w, begin, end, y, job.y_stride);
    } else {
      amx::dot_packed(packed_.data() + run.place, run.rows, *job.w, begin, end, y, job.y_stride);
    }
  }
}

void Products::run(std::span<const DotJob> jobs) {
  prepare(jobs);
  items_.clear();
  for (const DotJob& job : jobs) {
    items_.push_back({.units = job.w->rows, .unit_cost = job.rows * std::max<int64_t>(1, job.w->cols)});
  }
  run_items(pool_, items_, [&](int64_t i, int64_t begin, int64_t end) { compute(jobs[i], i, begin, end); });
}

}  // namespace bellwether::engine::cpu
