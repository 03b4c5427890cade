#include "engine/cpu/matmul.h"

#include <array>

#include "engine/cpu/kernels.h"
#include "engine/invariant.h"

namespace bellwether::engine::cpu {

void run_dots(ThreadPool& pool, std::span<const DotJob> jobs) {
  std::array<WorkItem, 8> items{};
  require(jobs.size() <= items.size(), "too many products in one call");
  for (size_t i = 0; i < jobs.size(); ++i) {
    items[i] = {.units = jobs[i].w->rows, .unit_cost = jobs[i].rows * std::max<int64_t>(1, jobs[i].w->cols)};
  }
  run_items(pool, std::span(items).first(jobs.size()), [&](int64_t i, int64_t begin, int64_t end) {
    const DotJob& job = jobs[i];
    dot_rows(job.x, job.x_stride, job.rows, *job.w, begin, end, job.y + begin, job.y_stride);
  });
}

}  // namespace bellwether::engine::cpu
