#include "engine/engine_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <type_traits>

#include "engine/cpu/thread_pool.h"
#include "engine/invariant.h"

namespace bellwether::engine {
namespace {

constexpr int kThreadsMax = 1024;
constexpr int kRanksMax = 1024;
constexpr int kDraftTokensMax = 16;
constexpr int kSequencesMax = 1 << 16;
constexpr int64_t kBatchTokensMax = 1 << 20;
constexpr int64_t kKvBlocksMax = 1 << 26;
constexpr int64_t kKvBlocksDefaultMin = 512;

template <class T>
void check_range(const char* name, T value, std::type_identity_t<T> min, std::type_identity_t<T> max) {
  if (value < min || value > max) {
    throw ConfigError(fmt::format("{} is {}, outside {} to {}", name, value, min, max));
  }
}

bool all_below(std::span<const int32_t> ids, int64_t vocab_size) {
  return std::ranges::all_of(ids, [&](int32_t id) { return id >= 0 && id < vocab_size; });
}

// The `count` most likely tokens, best first.
std::vector<TokenLogprob> top_logprobs_of(std::span<const float> logits, int32_t count) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto end = ids.begin() + std::min<ptrdiff_t>(count, std::ssize(ids));
  std::partial_sort(ids.begin(), end, ids.end(),
                    [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  std::vector<TokenLogprob> top;
  if (ids.begin() == end) return top;
  const float best = logprob_of(logits, ids[0]);
  for (auto id = ids.begin(); id != end; ++id) {
    top.push_back({.id = *id, .logprob = best - (logits[ids[0]] - logits[*id])});
  }
  return top;
}

}  // namespace

EngineOptions resolve(const EngineOptions& options, const ModelConfig& config) {
  EngineOptions resolved = options;
  check_range("threads", options.threads, 0, kThreadsMax);
  check_range("sequences_max", options.sequences_max, 1, kSequencesMax);
  check_range("waiting_max", options.waiting_max, 0, kSequencesMax);
  check_range("batch_tokens_max", options.batch_tokens_max, 1, kBatchTokensMax);
  check_range("kv_blocks", options.kv_blocks, 0, kKvBlocksMax);
  check_range("context_tokens_max", options.context_tokens_max, 0, config.max_position_embeddings);
  check_range("ranks", options.ranks, 1, kRanksMax);
  check_range("rank", options.rank, 0, options.ranks - 1);
  check_range("draft_tokens", options.draft_tokens, 0, kDraftTokensMax);
  if (config.num_nextn_predict_layers == 0) resolved.draft_tokens = 0;
  if (resolved.threads == 0) resolved.threads = std::min(cpu::usable_cpus(), kThreadsMax);
  if (resolved.context_tokens_max == 0) resolved.context_tokens_max = config.max_position_embeddings;
  if (resolved.kv_blocks == 0) {
    resolved.kv_blocks = std::max(kKvBlocksDefaultMin, 2 * blocks_for(resolved.context_tokens_max));
  }
  // More could not all advance in one step.
  resolved.sequences_max = static_cast<int>(std::min<int64_t>(resolved.sequences_max, resolved.batch_tokens_max));
  return resolved;
}

EngineLoop::EngineLoop(const ModelConfig& config, const EngineOptions& options, std::unique_ptr<Forward> forward)
    : config_(config), options_(options), forward_(std::move(forward)), blocks_(options.kv_blocks) {}

std::string EngineLoop::invalid_reason(const SequenceRequest& request) const {
  if (request.prompt_ids.empty()) return "the prompt is empty";
  if (!all_below(request.prompt_ids, config_.vocab_size)) return "a prompt id is outside the vocabulary";
  if (!all_below(request.output_ids, config_.vocab_size)) return "an output id is outside the vocabulary";
  if (!all_below(request.stop_ids, config_.vocab_size)) return "a stop id is outside the vocabulary";
  if (request.max_tokens <= std::ssize(request.output_ids)) {
    return request.output_ids.empty() ? "max_tokens must be 1 or more" : "max_tokens leaves nothing to generate";
  }
  if (std::string problem = check(request.sampling); !problem.empty()) return problem;
  if (is_known(request.id)) return "a sequence of this id is running";
  return "";
}

bool EngineLoop::is_known(SequenceId id) const {
  const auto has_id = [id](const Sequence& sequence) { return sequence.request.id == id; };
  return std::ranges::any_of(running_, has_id) || std::ranges::any_of(waiting_, has_id);
}

// The last generated token is never computed, so it needs no place.
int64_t EngineLoop::blocks_max(const SequenceRequest& request) const {
  return blocks_for(std::ssize(request.prompt_ids) + request.max_tokens - 1);
}

Admission EngineLoop::admit(SequenceRequest request, std::string* reason) {
  const auto refuse = [&](Admission admission, std::string why) {
    if (reason != nullptr) *reason = std::move(why);
    return admission;
  };
  if (std::string why = invalid_reason(request); !why.empty()) return refuse(Admission::kInvalid, std::move(why));
  const int64_t prompt = std::ssize(request.prompt_ids);
  if (request.max_tokens > options_.context_tokens_max - prompt) {
    return refuse(Admission::kTooLong, fmt::format("{} prompt tokens and {} to generate exceed the context of {}",
                                                   prompt, request.max_tokens, options_.context_tokens_max));
  }
  if (blocks_max(request) > options_.kv_blocks) {
    return refuse(Admission::kTooLong,
                  fmt::format("{} prompt tokens and {} to generate exceed the KV cache of {} tokens", prompt,
                              request.max_tokens, options_.kv_blocks * kBlockTokens));
  }
  const size_t places = static_cast<size_t>(options_.sequences_max) + static_cast<size_t>(options_.waiting_max);
  if (running_.size() + waiting_.size() >= places) {
    return refuse(Admission::kFull, fmt::format("{} sequences are running or waiting already", places));
  }
  Sequence sequence;
  sequence.ids = request.prompt_ids;
  sequence.ids.insert(sequence.ids.end(), request.output_ids.begin(), request.output_ids.end());
  sequence.given = std::ssize(sequence.ids);
  sequence.request = std::move(request);
  Sequences arrived;
  arrived.push_back(std::move(sequence));
  insert(waiting_, arrived, arrived.begin());
  return Admission::kAdmitted;
}

// Moves `sequence` to its place: after all of its priority.
void EngineLoop::insert(Sequences& sequences, Sequences& from, Sequences::iterator sequence) {
  auto place = sequences.end();
  while (place != sequences.begin() && std::prev(place)->request.priority > sequence->request.priority) --place;
  sequences.splice(place, from, sequence);
}

bool EngineLoop::cancel(SequenceId id) {
  for (Sequences* sequences : {&running_, &waiting_}) {
    const auto found = std::ranges::find_if(*sequences, [id](const Sequence& s) { return s.request.id == id; });
    if (found == sequences->end()) continue;
    release(*found);
    sequences->erase(found);
    return true;
  }
  return false;
}

void EngineLoop::forget_all() {
  for (Sequences* sequences : {&running_, &waiting_}) {
    for (Sequence& sequence : *sequences) release(sequence);
    sequences->clear();
  }
}

void EngineLoop::release(Sequence& sequence) {
  for (const int32_t block : sequence.blocks) blocks_.give_back(block);
  sequence.blocks.clear();
}

EngineLoad EngineLoop::load_now() const {
  EngineLoad load{.running = static_cast<int>(running_.size()),
                  .waiting = static_cast<int>(waiting_.size()),
                  .kv_blocks_used = blocks_.used(),
                  .tokens_pending = 0};
  for (const Sequences* sequences : {&running_, &waiting_}) {
    for (const Sequence& sequence : *sequences) {
      load.tokens_pending += std::max<int64_t>(0, sequence.given - sequence.computed);
    }
  }
  return load;
}

BatchPlan EngineLoop::make_plan() const {
  const auto plan_of = [&](const Sequences& sequences) {
    std::vector<PlanSequence> plans;
    plans.reserve(sequences.size());
    for (const Sequence& sequence : sequences) {
      plans.push_back({.tokens_pending = sequence.pending(), .blocks_max = blocks_max(sequence.request)});
    }
    return plans;
  };
  return plan_batch(plan_of(running_), plan_of(waiting_),
                    {.batch_tokens_max = options_.batch_tokens_max,
                     .sequences_max = options_.sequences_max,
                     .kv_blocks = options_.kv_blocks});
}

// Takes the blocks that `tokens` more need. Logits are wanted when they are the last of those known.
BatchSegment EngineLoop::prepare_segment(Sequence& sequence, int64_t tokens) {
  const int64_t end = sequence.computed + tokens;
  while (std::ssize(sequence.blocks) < blocks_for(end)) sequence.blocks.push_back(blocks_.take());
  return {.ids = std::span(sequence.ids).subspan(static_cast<size_t>(sequence.computed), static_cast<size_t>(tokens)),
          .position = sequence.computed,
          .prompt_tokens = std::ssize(sequence.request.prompt_ids),
          .blocks = sequence.blocks,
          .logits_begin = end == std::ssize(sequence.ids) ? tokens - 1 : tokens};
}

void EngineLoop::append_token(Sequence& sequence, std::span<const float> logits, SequenceOutput& output) const {
  const SequenceRequest& request = sequence.request;
  const int32_t id = sample(logits, request.sampling, sequence.ids.size());
  output.first_index = std::ssize(sequence.ids) - std::ssize(request.prompt_ids);
  output.ids.push_back(id);
  if (request.sampling.logprobs) output.logprobs.push_back({.id = id, .logprob = logprob_of(logits, id)});
  if (request.sampling.top_logprobs > 0) {
    output.top_logprobs = top_logprobs_of(logits, request.sampling.top_logprobs);
  }
  sequence.ids.push_back(id);
  if (std::ranges::find(request.stop_ids, id) != request.stop_ids.end()) {
    output.finish = Finish::kStop;
  } else if (output.first_index + 1 == request.max_tokens) {
    output.finish = Finish::kLength;
  }
}

StepReport EngineLoop::step() {
  StepReport report;
  const BatchPlan plan = make_plan();
  // The plan's order: those that ran already, then those that start now.
  std::vector<Sequences::iterator> planned;
  for (auto sequence = running_.begin(); sequence != running_.end(); ++sequence) planned.push_back(sequence);
  for (int64_t i = 0; i < plan.admitted; ++i) {
    planned.push_back(waiting_.begin());
    insert(running_, waiting_, waiting_.begin());
  }
  std::vector<BatchSegment> segments;
  std::vector<Sequences::iterator> computed;
  for (size_t i = 0; i < planned.size(); ++i) {
    if (plan.tokens[i] == 0) continue;
    segments.push_back(prepare_segment(*planned[i], plan.tokens[i]));
    computed.push_back(planned[i]);
  }
  if (segments.empty()) return report;

  std::span<const float> logits = forward_->compute(segments);
  for (size_t i = 0; i < segments.size(); ++i) {
    Sequence& sequence = *computed[i];
    const int64_t tokens = std::ssize(segments[i].ids);
    const int64_t read = std::clamp<int64_t>(sequence.given - sequence.computed, 0, tokens);
    report.prefill_tokens += read;
    report.decode_tokens += tokens - read;
    sequence.computed += tokens;
    if (segments[i].logits_begin == tokens) continue;
    SequenceOutput& output = report.outputs.emplace_back();
    output.id = sequence.request.id;
    output.prefill_done = read > 0;
    append_token(sequence, logits.first(static_cast<size_t>(config_.vocab_size)), output);
    logits = logits.subspan(static_cast<size_t>(config_.vocab_size));
    if (output.finish == Finish::kNone) continue;
    release(sequence);
    running_.erase(computed[i]);
  }
  return report;
}

}  // namespace bellwether::engine
