#include "engine/echo/echo_forward.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "engine/kv_blocks.h"

namespace bellwether::engine {
namespace {

// At the highest temperature, 2, any other of 129,280 ids comes once in 10^16 draws.
constexpr float kRaisedLogit = 100;

size_t slot(std::span<const int32_t> blocks, int64_t position) {
  return static_cast<size_t>(blocks[static_cast<size_t>(position / kBlockTokens)] * kBlockTokens +
                             position % kBlockTokens);
}

}  // namespace

std::chrono::nanoseconds step_time(const EchoPace& pace, int64_t prompt_tokens, int64_t generated_tokens) {
  double seconds = 0;
  if (pace.prefill_tokens_per_s > 0) seconds += static_cast<double>(prompt_tokens) / pace.prefill_tokens_per_s;
  if (pace.tokens_per_s > 0 && generated_tokens > 0) seconds += 1 / pace.tokens_per_s;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
}

std::chrono::steady_clock::time_point step_due(std::chrono::steady_clock::time_point due_before,
                                               std::chrono::steady_clock::time_point now,
                                               std::chrono::nanoseconds duration) {
  return (now - due_before < duration ? due_before : now) + duration;
}

EchoForward::Pause EchoForward::real_pause() {
  return [due = std::chrono::steady_clock::time_point()](std::chrono::nanoseconds duration) mutable {
    if (duration <= std::chrono::nanoseconds::zero()) return;
    due = step_due(due, std::chrono::steady_clock::now(), duration);
    std::this_thread::sleep_until(due);
  };
}

EchoForward::EchoForward(const ModelConfig& config, int64_t kv_blocks, const EchoPace& pace, Pause pause)
    : vocab_size_(static_cast<size_t>(config.vocab_size)),
      eos_ids_(config.eos_token_ids),
      pace_(pace),
      pause_(std::move(pause)),
      slots_(static_cast<size_t>(kv_blocks * kBlockTokens)) {
  while (std::ranges::find(eos_ids_, no_eos_id_) != eos_ids_.end()) ++no_eos_id_;
}

int32_t EchoForward::next_id(const BatchSegment& segment, int64_t position) const {
  // Within the prompt nobody reads the logits but who asks for log-probabilities of it.
  const int64_t echoed = std::max<int64_t>(0, position + 1 - segment.prompt_tokens);
  const int32_t id = slots_[slot(segment.blocks, echoed)];
  return std::ranges::find(eos_ids_, id) == eos_ids_.end() ? id : no_eos_id_;
}

// As many rows of zeros.
void EchoForward::begin_rows(int64_t rows) {
  for (size_t row = 0; row < raised_.size(); ++row) {
    logits_[row * vocab_size_ + static_cast<size_t>(raised_[row])] = 0;
  }
  raised_.clear();
  const size_t size = static_cast<size_t>(rows) * vocab_size_;
  if (logits_.size() < size) logits_.resize(size);
}

std::span<const float> EchoForward::compute(std::span<const BatchSegment> segments) {
  int64_t rows = 0;
  int64_t prompt_tokens = 0;
  int64_t generated_tokens = 0;
  for (const BatchSegment& segment : segments) {
    const int64_t tokens = std::ssize(segment.ids);
    const int64_t of_prompt = std::clamp<int64_t>(segment.prompt_tokens - segment.position, 0, tokens);
    prompt_tokens += of_prompt;
    generated_tokens += tokens - of_prompt;
    rows += tokens - segment.logits_begin;
    for (int64_t i = 0; i < tokens; ++i) {
      slots_[slot(segment.blocks, segment.position + i)] = segment.ids[static_cast<size_t>(i)];
    }
  }
  begin_rows(rows);
  for (const BatchSegment& segment : segments) {
    for (int64_t i = segment.logits_begin; i < std::ssize(segment.ids); ++i) {
      const int32_t id = next_id(segment, segment.position + i);
      logits_[raised_.size() * vocab_size_ + static_cast<size_t>(id)] = kRaisedLogit;
      raised_.push_back(id);
    }
  }
  pause_(step_time(pace_, prompt_tokens, generated_tokens));
  return std::span(logits_).first(raised_.size() * vocab_size_);
}

}  // namespace bellwether::engine
