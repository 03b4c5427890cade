// The tokens of a batch as rows of matrices: segment after segment, in order of position.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/forward.h"

namespace bellwether::engine::cpu {

// A row whose attention takes the decode form.
struct DecodeRow {
  int64_t row;
  int64_t position;
  std::span<const int32_t> blocks;
};

// Consecutive rows of one sequence whose attention takes the prefill form.
struct PrefillRows {
  int64_t row_begin;
  int64_t rows;
  int64_t position;  // of the first
  std::span<const int32_t> blocks;
};

struct BatchRows {
  int64_t count = 0;
  std::vector<int64_t> positions;                // (count)
  std::vector<std::span<const int32_t>> blocks;  // (count), each row's sequence's
  std::vector<DecodeRow> decode;
  std::vector<PrefillRows> prefill;
};

[[nodiscard]] inline BatchRows rows_of(std::span<const BatchSegment> segments) {
  BatchRows rows;
  for (const BatchSegment& segment : segments) {
    const auto count = static_cast<int64_t>(segment.ids.size());
    const int64_t prefill = std::clamp<int64_t>(segment.prompt_tokens - segment.position, 0, count);
    if (prefill > 0) rows.prefill.push_back({rows.count, prefill, segment.position, segment.blocks});
    for (int64_t i = 0; i < count; ++i) {
      if (i >= prefill) rows.decode.push_back({rows.count + i, segment.position + i, segment.blocks});
      rows.positions.push_back(segment.position + i);
      rows.blocks.push_back(segment.blocks);
    }
    rows.count += count;
  }
  return rows;
}

}  // namespace bellwether::engine::cpu
