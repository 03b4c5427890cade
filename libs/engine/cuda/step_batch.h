// The tokens of a batch in the order in which the GPU computes them: those whose attention takes the decode form first,
// then those of prompts, sequence after sequence.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/forward.h"
#include "engine/kv_blocks.h"

namespace bellwether::engine::cuda {

// Consecutive rows of one sequence whose attention takes the prefill form.
struct PrefillRun {
  int64_t row_begin = 0;
  int64_t rows = 0;
  int64_t position = 0;  // of the first
  std::span<const int32_t> blocks;
};

struct StepBatch {
  int64_t rows = 0;
  int64_t decode_rows = 0;
  std::vector<int32_t> ids;                      // (rows)
  std::vector<int32_t> positions;                // (rows)
  std::vector<int32_t> slots;                    // (rows): block * kBlockTokens + token
  std::vector<std::span<const int32_t>> blocks;  // (decode_rows), each row's sequence's, as many as it reads
  std::vector<PrefillRun> prefill;
  std::vector<int32_t> row_of;  // (rows): where the batch's row, counted segment after segment, is
};

[[nodiscard]] inline StepBatch step_batch_of(std::span<const BatchSegment> segments) {
  StepBatch batch;
  const auto prompt_rows = [](const BatchSegment& segment) {
    const auto count = static_cast<int64_t>(segment.ids.size());
    const int64_t rows = segment.prompt_tokens - segment.position;
    return rows < 0 ? 0 : rows < count ? rows : count;
  };
  const auto add = [&](const BatchSegment& segment, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t position = segment.position + i;
      const auto at = static_cast<size_t>(position);
      batch.ids.push_back(segment.ids[static_cast<size_t>(i)]);
      batch.positions.push_back(static_cast<int32_t>(position));
      batch.slots.push_back(
          static_cast<int32_t>(segment.blocks[at / kBlockTokens] * kBlockTokens + position % kBlockTokens));
    }
  };
  for (const BatchSegment& segment : segments) {
    batch.rows += std::ssize(segment.ids);
    const int64_t begin = prompt_rows(segment);
    add(segment, begin, std::ssize(segment.ids));
    for (int64_t i = begin; i < std::ssize(segment.ids); ++i) {
      batch.blocks.push_back(segment.blocks.first(static_cast<size_t>(blocks_for(segment.position + i + 1))));
    }
  }
  batch.decode_rows = std::ssize(batch.ids);
  int64_t decode_row = 0;
  for (const BatchSegment& segment : segments) {
    const int64_t rows = prompt_rows(segment);
    const int64_t first = std::ssize(batch.ids);
    add(segment, 0, rows);
    if (rows > 0) {
      const auto blocks = segment.blocks.first(static_cast<size_t>(blocks_for(segment.position + rows)));
      batch.prefill.push_back({.row_begin = first, .rows = rows, .position = segment.position, .blocks = blocks});
    }
    for (int64_t i = 0; i < std::ssize(segment.ids); ++i) {
      batch.row_of.push_back(static_cast<int32_t>(i < rows ? first + i : decode_row++));
    }
  }
  return batch;
}

}  // namespace bellwether::engine::cuda
