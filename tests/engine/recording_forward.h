// A forward pass that keeps the logits of every token it computes, asked for or not. They are a fixed function of the
// tokens up to it and of which of them belong to the prompt (forward.h): a token that is computed a second time, for
// whatever reason, must have the same logits bit for bit.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/forward.h"
#include "engine/kv_blocks.h"
#include "engine/mix.h"

namespace bellwether::engine {

class RecordingForward final : public Forward {
 public:
  RecordingForward(std::unique_ptr<Forward> inner, int64_t vocab_size)
      : inner_(std::move(inner)), vocab_size_(static_cast<size_t>(vocab_size)) {}

  [[nodiscard]] std::span<const float> compute(std::span<const BatchSegment> segments) override {
    std::vector<BatchSegment> all(segments.begin(), segments.end());
    for (BatchSegment& segment : all) segment.logits_begin = 0;
    std::span<const float> logits = inner_->compute(all);
    wanted_.clear();
    size_t tokens = 0;
    for (const BatchSegment& segment : segments) {
      const auto rows = logits.first(segment.ids.size() * vocab_size_);
      logits = logits.subspan(rows.size());
      record(segment, rows);
      wanted_.insert(wanted_.end(), rows.begin() + segment.logits_begin * static_cast<ptrdiff_t>(vocab_size_),
                     rows.end());
      tokens += segment.ids.size();
    }
    batches_.push_back({segments.size(), tokens});
    return wanted_;
  }

  [[nodiscard]] std::span<const int32_t> draft(std::span<const DraftSegment> segments) override {
    return inner_->draft(segments);
  }
  [[nodiscard]] bool has_drafts() const override { return inner_->has_drafts(); }

  // (ids, vocab): of every token of a sequence that begins so; shorter where one was not computed.
  [[nodiscard]] std::vector<float> logits(std::span<const int32_t> ids, int64_t prompt_tokens) const {
    std::vector<float> logits;
    uint64_t name = 0;
    for (int64_t i = 0; i < std::ssize(ids); ++i) {
      name = name_after(name, ids[i], i < prompt_tokens);
      const auto found = rows_.find(name);
      if (found == rows_.end()) break;
      logits.insert(logits.end(), found->second.begin(), found->second.end());
    }
    return logits;
  }

  struct BatchSize {
    size_t segments;
    size_t tokens;
  };
  [[nodiscard]] const std::vector<BatchSize>& batches() const { return batches_; }
  [[nodiscard]] size_t rows_repeated() const { return rows_repeated_; }

 private:
  static uint64_t name_after(uint64_t name, int32_t id, bool is_prompt) {
    return mix(name + kGolden * static_cast<uint64_t>(2 * static_cast<int64_t>(id) + 3 + static_cast<int>(is_prompt)));
  }

  uint64_t& name_at(std::span<const int32_t> blocks, int64_t position) {
    return names_[blocks[position / kBlockTokens] * kBlockTokens + position % kBlockTokens];
  }

  void record(const BatchSegment& segment, std::span<const float> rows) {
    for (int64_t i = 0; i < std::ssize(segment.ids); ++i) {
      const int64_t position = segment.position + i;
      const uint64_t before = position == 0 ? 0 : name_at(segment.blocks, position - 1);
      const uint64_t name = name_after(before, segment.ids[i], position < segment.prompt_tokens);
      name_at(segment.blocks, position) = name;
      const auto row = rows.subspan(static_cast<size_t>(i) * vocab_size_, vocab_size_);
      const auto [entry, is_new] = rows_.try_emplace(name, row.begin(), row.end());
      if (is_new) continue;
      ++rows_repeated_;
      EXPECT_EQ(std::memcmp(entry->second.data(), row.data(), row.size_bytes()), 0) << "position " << position;
    }
  }

  std::unique_ptr<Forward> inner_;
  size_t vocab_size_;
  std::unordered_map<int64_t, uint64_t> names_;            // of each slot of the cache: of the tokens up to it
  std::unordered_map<uint64_t, std::vector<float>> rows_;  // by name
  std::vector<float> wanted_;
  std::vector<BatchSize> batches_;
  size_t rows_repeated_ = 0;
};

}  // namespace bellwether::engine
