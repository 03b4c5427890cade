#include "engine/generation.h"

#include <algorithm>

#include "engine/logprobs.h"

namespace bellwether::engine {
namespace {

Finish finish_of(const Sequence& sequence) {
  if (std::ranges::find(sequence.request.stop_ids, sequence.ids.back()) != sequence.request.stop_ids.end()) {
    return Finish::kStop;
  }
  return sequence.outputs_left() == 0 ? Finish::kLength : Finish::kNone;
}

void report_logprobs(const SamplingParams& params, std::span<const float> logits, int32_t id, SequenceOutput& output) {
  if (!params.logprobs && params.top_logprobs == 0) return;
  const Logprobs logprobs(logits);
  if (params.logprobs) output.logprobs.push_back(logprobs.of(id));
  logprobs.append_best(params.top_logprobs, output.top_logprobs);
}

}  // namespace

Generation::Generation(int64_t vocab_size)
    : vocab_size_(static_cast<size_t>(vocab_size)), allowed_((vocab_size_ + 63) / 64) {}

int64_t Generation::draw(Sequence& sequence, std::span<const float> rows, SequenceOutput& output) {
  output.first_index = sequence.known() - sequence.prompt_tokens();
  int64_t right = 0;
  for (size_t i = 0; i < rows.size() / vocab_size_; ++i) {
    const auto logits = rows.subspan(i * vocab_size_, vocab_size_);
    const int32_t id = draw_one(sequence, logits);
    sequence.append(id);
    output.ids.push_back(id);
    report_logprobs(sequence.request.sampling, logits, id, output);
    const bool is_guessed = i + 1 < sequence.verifying.size() && sequence.verifying[i + 1] == id;
    right += static_cast<int64_t>(is_guessed);
    output.finish = finish_of(sequence);
    if (!is_guessed || output.finish != Finish::kNone) break;
  }
  return right;
}

int32_t Generation::draw_one(const Sequence& sequence, std::span<const float> logits) {
  const SequenceRequest& request = sequence.request;
  Draw draw{.params = request.sampling,
            .position = static_cast<uint64_t>(sequence.known()),
            .counts = has_penalties(request.sampling) ? &sequence.counts : nullptr};
  if (sequence.known() - sequence.prompt_tokens() < request.min_tokens) draw.banned = request.stop_ids;
  if (request.constraint != nullptr) {
    std::ranges::fill(allowed_, 0);
    if (request.constraint->fill_allowed(allowed_)) draw.allowed = allowed_;
  }
  return sampler_.draw(logits, draw);
}

void Generation::report_prompt(Sequence& sequence, int64_t position, std::span<const float> rows,
                               SequenceOutput& output) const {
  for (size_t i = 0; i < rows.size() / vocab_size_; ++i) {
    const int64_t next = position + static_cast<int64_t>(i) + 1;
    // A sequence that is computed again has reported some already.
    if (next <= sequence.prompt_logprobs_sent || next >= sequence.prompt_tokens()) continue;
    const Logprobs logprobs(rows.subspan(i * vocab_size_, vocab_size_));
    output.prompt_logprobs.push_back(logprobs.of(sequence.ids[next]));
    logprobs.append_best(sequence.request.prompt_logprobs, output.prompt_top_logprobs);
    sequence.prompt_logprobs_sent = next;
  }
}

}  // namespace bellwether::engine
