// A forward pass that keeps the logits of every token it computes, asked for or not.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "engine/forward.h"

namespace bellwether::engine {

class RecordingForward final : public Forward {
 public:
  struct Recording {
    std::vector<int32_t> ids;
    std::vector<float> logits;  // (ids, vocab)
  };

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
      Recording& recording = of(segment);
      recording.ids.insert(recording.ids.end(), segment.ids.begin(), segment.ids.end());
      recording.logits.insert(recording.logits.end(), rows.begin(), rows.end());
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

  // The recording of the sequence that began with these ids; nullptr when there is none.
  [[nodiscard]] const Recording* find(std::span<const int32_t> ids) const {
    for (const Recording& recording : recordings_) {
      if (recording.ids.size() >= ids.size() && std::ranges::equal(ids, std::span(recording.ids).first(ids.size()))) {
        return &recording;
      }
    }
    return nullptr;
  }

  struct BatchSize {
    size_t segments;
    size_t tokens;
  };
  [[nodiscard]] const std::vector<BatchSize>& batches() const { return batches_; }

 private:
  // No two live sequences share a block, so the first block tells them apart.
  Recording& of(const BatchSegment& segment) {
    if (segment.position == 0) {
      by_block_[segment.blocks[0]] = recordings_.size();
      return recordings_.emplace_back();
    }
    return recordings_[by_block_.at(segment.blocks[0])];
  }

  std::unique_ptr<Forward> inner_;
  size_t vocab_size_;
  std::vector<Recording> recordings_;
  std::map<int32_t, size_t> by_block_;
  std::vector<float> wanted_;
  std::vector<BatchSize> batches_;
};

}  // namespace bellwether::engine
