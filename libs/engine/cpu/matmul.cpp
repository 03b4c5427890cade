#include "engine/cpu/matmul.h"

#include "engine/cpu/amx.h"
#include "engine/cpu/kernels.h"

namespace bellwether::engine::cpu {
namespace {

// Below this many bytes, laying them out takes less time than waking the other threads.
constexpr int64_t kParallelPackMin = 64 * 1024;

bool is_taken(const DotJob& job) {
  return job.w->format == Matrix::Format::kTiledFP8;
}

bool reads_same(const DotJob& a, const DotJob& b) {
  return a.x == b.x && a.x_stride == b.x_stride && a.rows == b.rows && a.w->cols == b.w->cols &&
         is_taken(a) == is_taken(b);
}

}  // namespace

int64_t cost_of_output(const DotJob& job) {
  const int64_t passes = is_taken(job) ? (job.rows + amx::kGroupRows - 1) / amx::kGroupRows : job.rows;
  return passes * std::max<int64_t>(1, job.w->cols);
}

// Returns how many bytes of packed_ are in use then.
int64_t Products::add_groups(const DotJob& job, int64_t bytes) {
  const int64_t width = amx::group_width(job.rows);
  for (int64_t row = 0; row < job.rows; row += width) {
    groups_.push_back({.x = job.x + row * job.x_stride,
                       .x_stride = job.x_stride,
                       .rows = std::min(width, job.rows - row),
                       .width = width,
                       .cols = job.w->cols,
                       .place = bytes});
    bytes += amx::packed_bytes(width, job.w->cols);
  }
  return bytes;
}

void Products::prepare(std::span<const DotJob> jobs) {
  place_.clear();
  groups_.clear();
  int64_t bytes = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (i > 0 && reads_same(jobs[i - 1], jobs[i])) {
      place_.push_back(place_.back());
    } else if (is_taken(jobs[i])) {
      place_.push_back(bytes);
      bytes = add_groups(jobs[i], bytes);
    } else {
      place_.push_back(-1);
    }
  }
  if (groups_.empty()) return;
  std::byte* packed = packed_.at_least(bytes);
  const auto pack = [&](int64_t i) {
    const Group& group = groups_[i];
    amx::pack_group(group.x, group.x_stride, group.rows, group.cols, group.width, packed + group.place);
  };
  if (bytes < kParallelPackMin) {
    for (int64_t i = 0; i < std::ssize(groups_); ++i) pack(i);
  } else {
    pool_.for_each(std::ssize(groups_), pack);
  }
}

void Products::compute(const DotJob& job, int64_t i, int64_t begin, int64_t end) const {
  if (place_[i] < 0) {
    dot_rows(job.x, job.x_stride, job.rows, *job.w, begin, end, job.y + begin, job.y_stride);
  } else {
    amx::dot_packed(packed_.data() + place_[i], job.rows, *job.w, begin, end, job.y + begin, job.y_stride);
  }
}

void Products::run(std::span<const DotJob> jobs) {
  prepare(jobs);
  items_.clear();
  for (const DotJob& job : jobs) {
    items_.push_back({.units = job.w->rows, .unit_cost = cost_of_output(job)});
  }
  run_items(pool_, items_, [&](int64_t i, int64_t begin, int64_t end) { compute(jobs[i], i, begin, end); });
}

}  // namespace bellwether::engine::cpu
