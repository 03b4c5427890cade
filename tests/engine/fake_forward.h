// A forward pass whose logits are a fixed function of the ids that it reads through the blocks, so that any error of
// planning, sharing or verifying changes the text or fails an expectation.
//
// Each slot of the cache holds a hash of all tokens up to its own and of which of them belong to the prompt, made from
// the slot before it, wherever the block table says that is. Logits are random numbers seeded by that hash. The draft
// layer has slots of its own, which name the token that it read after each.
#pragma once

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "engine/forward.h"
#include "engine/kv_blocks.h"
#include "engine/logprobs.h"
#include "engine/mix.h"

namespace bellwether::engine {

class FakeForward final : public Forward {
 public:
  struct Options {
    int64_t vocab_size = 61;
    int64_t kv_blocks = 16;
    int64_t batch_tokens_max = 64;
    double right = -1;  // the share of guesses that are the likeliest token; below 0 there is no draft layer
  };

  explicit FakeForward(const Options& options)
      : options_(options),
        slots_(static_cast<size_t>(options.kv_blocks * kBlockTokens)),
        draft_slots_(static_cast<size_t>(options.kv_blocks * kBlockTokens)) {}

  [[nodiscard]] std::span<const float> compute(std::span<const BatchSegment> segments) override {
    logits_.clear();
    states_.clear();
    std::set<size_t> written;
    for (const BatchSegment& segment : segments) {
      for (int64_t i = 0; i < std::ssize(segment.ids); ++i) {
        const int64_t position = segment.position + i;
        const uint64_t before = position == 0 ? 0 : slots_[slot(segment.blocks, position - 1)];
        const uint64_t state = next_state(before, segment.ids[i], position < segment.prompt_tokens);
        EXPECT_TRUE(written.insert(slot(segment.blocks, position)).second) << "two sequences write one slot";
        slots_[slot(segment.blocks, position)] = state;
        draft_slots_[slot(segment.blocks, position)] = 0;
        states_.push_back(state);
        if (i >= segment.logits_begin) append_logits(state, logits_);
      }
    }
    EXPECT_GT(segments.size(), 0U);
    EXPECT_LE(std::ssize(states_), options_.batch_tokens_max);
    ++steps_;
    rows_computed_ += std::ssize(states_);
    rows_max_ = std::max(rows_max_, std::ssize(states_));
    return logits_;
  }

  [[nodiscard]] std::span<const int32_t> draft(std::span<const DraftSegment> segments) override {
    guesses_.clear();
    for (const DraftSegment& segment : segments) {
      EXPECT_GT(segment.next_ids.size(), 0U);
      for (int64_t position = 0; position < segment.position; ++position) {
        EXPECT_NE(draft_slots_[slot(segment.blocks, position)], 0U) << "the draft layer did not read " << position;
      }
      uint64_t state = 0;
      int64_t position = segment.position;
      for (int64_t i = 0; i < std::ssize(segment.next_ids); ++i, ++position) {
        const uint64_t row = states_[segment.row_begin + i];
        EXPECT_EQ(row, slots_[slot(segment.blocks, position)]) << "row and position differ";
        if (i > 0) EXPECT_EQ(row, state) << "a token is not followed by the one that was said to follow";
        state = next_state(row, segment.next_ids[i], position + 1 < segment.prompt_tokens);
        draft_slots_[slot(segment.blocks, position)] = state;
      }
      for (int64_t i = 0; i < segment.drafts; ++i, ++position) {
        if (i > 0) (void)slot(segment.blocks, position - 1);  // must be there
        guesses_.push_back(guess(state));
        state = next_state(state, guesses_.back(), false);
      }
    }
    return guesses_;
  }

  [[nodiscard]] bool has_drafts() const override { return options_.right >= 0; }

  [[nodiscard]] int64_t steps() const { return steps_; }
  [[nodiscard]] int64_t rows_computed() const { return rows_computed_; }
  [[nodiscard]] int64_t rows_max() const { return rows_max_; }  // in one step

 private:
  [[nodiscard]] static size_t slot(std::span<const int32_t> blocks, int64_t position) {
    EXPECT_LT(position / kBlockTokens, std::ssize(blocks));
    return static_cast<size_t>(blocks[position / kBlockTokens] * kBlockTokens + position % kBlockTokens);
  }

  [[nodiscard]] static uint64_t next_state(uint64_t before, int32_t id, bool is_prompt) {
    return mix(before + kGolden * static_cast<uint64_t>(2 * id + 3 + static_cast<int>(is_prompt)));
  }

  void append_logits(uint64_t state, std::vector<float>& out) const {
    for (int64_t id = 0; id < options_.vocab_size; ++id) {
      out.push_back(static_cast<float>(mix(state + static_cast<uint64_t>(id)) >> 40) * 0x1p-21F);  // [0, 8)
    }
  }

  [[nodiscard]] int32_t guess(uint64_t state) const {
    std::vector<float> logits;
    append_logits(state, logits);
    const int32_t best = argmax(logits);
    const bool is_right = static_cast<double>(mix(state) % 1000) < options_.right * 1000;
    return is_right ? best : static_cast<int32_t>((best + 1) % options_.vocab_size);
  }

  Options options_;
  std::vector<uint64_t> slots_;
  std::vector<uint64_t> draft_slots_;  // 0 = not read
  std::vector<uint64_t> states_;       // of the last batch's rows
  std::vector<float> logits_;
  std::vector<int32_t> guesses_;
  int64_t steps_ = 0;
  int64_t rows_computed_ = 0;
  int64_t rows_max_ = 0;
};

}  // namespace bellwether::engine
