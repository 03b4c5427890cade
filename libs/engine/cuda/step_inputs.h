// What a step's kernels read that the host has written, in memory that stays where it is, so that captured graphs find
// it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/cuda/device_memory.h"
#include "engine/cuda/step_batch.h"
#include "engine/cuda/step_kernels.h"

namespace bellwether::engine::cuda {

// Pointers are to GPU memory.
struct StepInputs {
  StepRows step;                        // rows: with those that fill the batch up
  const int32_t* lengths = nullptr;     // (rows): tokens that a row of decode form sees, 0 for all others
  const int32_t* page_table = nullptr;  // (rows, table_stride), of rows of decode form
  int64_t table_stride = 0;
  const int32_t* wanted = nullptr;  // (rows): rows that are gathered for something; -1 = none
  int64_t decode_rows = 0;          // with those that fill up, if there is no prefill
  struct Prefill {
    int64_t row_begin = 0;
    int64_t rows = 0;
    int64_t position = 0;
    const int32_t* page_table = nullptr;
  };
  std::vector<Prefill> prefill = {};
};

class StepInputMemory {
 public:
  // `pages_max`: of one sequence.
  StepInputMemory(int64_t rows_max, int64_t pages_max);

  // Sends the batch, filled up to `rows` rows; `wanted`: rows of it, rows_max at most. Waits for the step before.
  [[nodiscard]] StepInputs send(const StepBatch& batch, int64_t rows, std::span<const int32_t> wanted, Stream& stream);

 private:
  void send_tables(const StepBatch& batch, cudaStream_t stream);
  void send_prefill(const StepBatch& batch, StepInputs& inputs, cudaStream_t stream);

  enum Array { kIds, kPositions, kSlots, kLengths, kWanted, kArrays };

  int64_t rows_max_;
  int64_t table_stride_;
  PinnedArray<int32_t> host_;  // (kArrays, rows_max)
  DeviceArray<int32_t> device_;
  PinnedArray<int32_t> host_tables_;  // (rows_max, table_stride)
  DeviceArray<int32_t> tables_;
  std::vector<int32_t> host_prefill_;  // the tables of prefill, one after another
  DeviceArray<int32_t> prefill_;
};

}  // namespace bellwether::engine::cuda
