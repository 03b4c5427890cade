#include "engine/cuda/step_inputs.h"

#include <algorithm>

namespace bellwether::engine::cuda {
namespace {

void copy_to_device(const int32_t* from, int64_t count, int32_t* to, cudaStream_t stream) {
  check(cudaMemcpyAsync(to, from, static_cast<size_t>(count) * sizeof(int32_t), cudaMemcpyHostToDevice, stream),
        "cudaMemcpyAsync");
}

}  // namespace

StepInputMemory::StepInputMemory(int64_t rows_max, int64_t pages_max)
    : rows_max_(rows_max),
      table_stride_(pages_max),
      host_(kArrays * rows_max),
      device_(kArrays * rows_max),
      host_tables_(rows_max * pages_max),
      tables_(rows_max * pages_max) {
  std::fill_n(host_tables_.get(), rows_max * pages_max, 0);
  check(cudaMemset(tables_.get(), 0, static_cast<size_t>(rows_max * pages_max) * sizeof(int32_t)), "cudaMemset");
}

StepInputs StepInputMemory::send(const StepBatch& batch, int64_t rows, std::span<const int32_t> wanted,
                                 Stream& stream) {
  stream.wait();
  const auto array = [&](Array which) { return host_.get() + which * rows_max_; };
  const auto fill = [&](Array which, std::span<const int32_t> values, int32_t other) {
    int32_t* to = std::ranges::copy(values, array(which)).out;
    std::fill(to, array(which) + rows, other);
  };
  fill(kIds, batch.ids, 0);
  fill(kPositions, batch.positions, 0);
  fill(kSlots, batch.slots, -1);
  fill(kWanted, wanted, -1);
  std::fill_n(array(kLengths), rows, 0);
  for (int64_t row = 0; row < batch.decode_rows; ++row) array(kLengths)[row] = batch.positions[row] + 1;
  copy_to_device(host_.get(), kArrays * rows_max_, device_.get(), stream.get());

  const auto on_device = [&](Array which) { return device_.get() + which * rows_max_; };
  StepInputs inputs{
      .step = {.ids = on_device(kIds), .positions = on_device(kPositions), .slots = on_device(kSlots), .rows = rows},
      .lengths = on_device(kLengths),
      .page_table = tables_.get(),
      .table_stride = table_stride_,
      .wanted = on_device(kWanted),
      .decode_rows = batch.prefill.empty() ? rows : batch.decode_rows};
  if (batch.decode_rows > 0) send_tables(batch, stream.get());
  if (!batch.prefill.empty()) send_prefill(batch, inputs, stream.get());
  return inputs;
}

// Of each row's table as much as the longest of them has.
void StepInputMemory::send_tables(const StepBatch& batch, cudaStream_t stream) {
  size_t longest = 0;
  for (int64_t row = 0; row < batch.decode_rows; ++row) {
    std::ranges::copy(batch.blocks[row], host_tables_.get() + row * table_stride_);
    longest = std::max(longest, batch.blocks[row].size());
  }
  const size_t stride = static_cast<size_t>(table_stride_) * sizeof(int32_t);
  check(cudaMemcpy2DAsync(tables_.get(), stride, host_tables_.get(), stride, longest * sizeof(int32_t),
                          static_cast<size_t>(batch.decode_rows), cudaMemcpyHostToDevice, stream),
        "cudaMemcpy2DAsync");
}

void StepInputMemory::send_prefill(const StepBatch& batch, StepInputs& inputs, cudaStream_t stream) {
  host_prefill_.clear();
  for (const PrefillRun& run : batch.prefill) {
    host_prefill_.insert(host_prefill_.end(), run.blocks.begin(), run.blocks.end());
  }
  if (prefill_.count() < std::ssize(host_prefill_)) prefill_ = DeviceArray<int32_t>(2 * std::ssize(host_prefill_));
  copy_to_device(host_prefill_.data(), std::ssize(host_prefill_), prefill_.get(), stream);
  const int32_t* table = prefill_.get();
  for (const PrefillRun& run : batch.prefill) {
    inputs.prefill.push_back({run.row_begin, run.rows, run.position, table});
    table += run.blocks.size();
  }
}

}  // namespace bellwether::engine::cuda
