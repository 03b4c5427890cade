#include "engine/engine_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <unordered_set>
#include <utility>

namespace bellwether::engine {
namespace {

// Tokens of sequences that want log-probabilities of their prompt, in one step: each needs a row of logits.
constexpr int64_t kPromptLogitsMax = 256;
constexpr int32_t kPromptLogprobsMax = 20;

bool all_below(std::span<const int32_t> ids, int64_t vocab_size) {
  return std::ranges::all_of(ids, [&](int32_t id) { return id >= 0 && id < vocab_size; });
}

// The last known token must be computed for its logits, so a block that it fills is not shared.
int64_t shareable_blocks(const Sequence& sequence) {
  return (sequence.known() - 1) / kBlockTokens;
}

PlanSequence plan_sequence(const Sequence& sequence) {
  return {.is_running = sequence.is_running,
          .priority = sequence.request.priority,
          .tokens_known = sequence.known(),
          .tokens_computed = sequence.computed,
          .drafts = std::ssize(sequence.drafts),
          .wants_prompt_logits = sequence.wants_prompt_logits(),
          .blocks = sequence.blocks};
}

}  // namespace

EngineLoop::EngineLoop(const ModelConfig& config, const EngineOptions& options, std::unique_ptr<Forward> forward)
    : config_(config),
      options_(options),
      forward_(std::move(forward)),
      cache_(options.kv_blocks),
      generation_(config.vocab_size) {
  if (!forward_->has_drafts()) options_.draft_tokens = 0;
}

std::string EngineLoop::invalid_reason(const SequenceRequest& request) const {
  if (request.prompt_ids.empty()) return "the prompt is empty";
  if (!all_below(request.prompt_ids, config_.vocab_size)) return "a prompt id is outside the vocabulary";
  if (!all_below(request.output_ids, config_.vocab_size)) return "an output id is outside the vocabulary";
  if (!all_below(request.stop_ids, config_.vocab_size)) return "a stop id is outside the vocabulary";
  for (const auto& [id, bias] : request.sampling.logit_bias) {
    if (id < 0 || id >= config_.vocab_size) return "an id of logit_bias is outside the vocabulary";
  }
  if (request.max_tokens <= std::ssize(request.output_ids)) {
    return request.output_ids.empty() ? "max_tokens must be 1 or more" : "max_tokens leaves nothing to generate";
  }
  if (request.min_tokens < 0 || request.min_tokens > request.max_tokens) {
    return "min_tokens must be from 0 to max_tokens";
  }
  if (request.prompt_logprobs < -1 || request.prompt_logprobs > kPromptLogprobsMax) {
    return fmt::format("prompt_logprobs must be from 0 to {}", kPromptLogprobsMax);
  }
  if (std::string problem = check(request.sampling); !problem.empty()) return problem;
  if (std::ranges::any_of(sequences_, [&](const Sequence& live) { return live.request.id == request.id; })) {
    return "a sequence of this id is running";
  }
  return "";
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
  if (sequences_.size() >= places) {
    return refuse(Admission::kFull, fmt::format("{} sequences are running or waiting already", places));
  }
  auto place = sequences_.end();  // after all of its priority
  while (place != sequences_.begin() && std::prev(place)->request.priority > request.priority) --place;
  sequences_.emplace(place, std::move(request));
  return Admission::kAdmitted;
}

bool EngineLoop::cancel(SequenceId id) {
  const auto found = std::ranges::find_if(sequences_, [id](const Sequence& s) { return s.request.id == id; });
  if (found == sequences_.end()) return false;
  if (found->is_running) cache_.release(found->blocks);
  sequences_.erase(found);
  return true;
}

void EngineLoop::begin_anew(int64_t kv_blocks) {
  options_.kv_blocks = kv_blocks;
  sequences_.clear();
  cache_.clear(kv_blocks);
}

EngineLoad EngineLoop::load_now() const {
  EngineLoad load{.kv_blocks_used = cache_.used()};
  for (const Sequence& sequence : sequences_) {
    ++(sequence.is_running ? load.running : load.waiting);
    load.tokens_pending += std::max<int64_t>(0, sequence.prefill_end - sequence.computed);
  }
  return load;
}

// The sequences that the planner may choose from, in order: those that run, and those that wait for nothing but room.
// One whose next missing block is being computed by a sequence before it is left out: soon it will find the block
// instead of computing it a second time. So n answers to one prompt compute the prompt once.
std::vector<Sequence*> EngineLoop::offer() {
  std::vector<Sequence*> offered;
  std::unordered_set<uint64_t> hashes_in_making;
  const auto running = std::ranges::count_if(sequences_, &Sequence::is_running);
  // Where there is none, the first may take another's.
  int64_t places = std::max<int64_t>(1, options_.sequences_max - running);
  int64_t tokens_waiting = 0;
  for (Sequence& sequence : sequences_) {
    if (!sequence.is_running) {
      if (places == 0 || tokens_waiting >= options_.batch_tokens_max) continue;  // those before it fill the step
      find_cached(sequence);
      const size_t next = sequence.blocks.size();
      const bool would_share =
          !sequence.wants_prompt_logits() && next < static_cast<size_t>(shareable_blocks(sequence));
      if (would_share && hashes_in_making.contains(sequence.hashes[next])) continue;
      tokens_waiting += sequence.pending();
      --places;
    }
    if (sequence.pending() > 1) {
      hashes_in_making.insert(sequence.hashes.begin() + sequence.computed / kBlockTokens, sequence.hashes.end());
    }
    offered.push_back(&sequence);
  }
  return offered;
}

void EngineLoop::find_cached(Sequence& sequence) const {
  sequence.blocks.clear();
  while (!sequence.wants_prompt_logits() && std::ssize(sequence.blocks) < shareable_blocks(sequence)) {
    const auto block = cache_.find(sequence.content_of(std::ssize(sequence.blocks)));
    if (!block) break;
    sequence.blocks.push_back(*block);
  }
  sequence.computed = std::ssize(sequence.blocks) * kBlockTokens;
}

// Decides the step and moves the blocks that it needs moved.
std::vector<EngineLoop::Part> EngineLoop::plan(StepReport& report) {
  const std::vector<Sequence*> offered = offer();
  std::vector<PlanSequence> sequences;
  sequences.reserve(offered.size());
  for (const Sequence* sequence : offered) sequences.push_back(plan_sequence(*sequence));
  const auto planned = plan_batch(sequences,
                                  {.batch_tokens_max = options_.batch_tokens_max,
                                   .sequences_max = options_.sequences_max,
                                   .prompt_logits_max = kPromptLogitsMax},
                                  {.free = cache_.free(), .holders = cache_.holders()});
  // First what becomes free, then what is shared, and only then what is taken: taking forgets cached blocks.
  for (size_t i = 0; i < offered.size(); ++i) {
    if (!offered[i]->is_running || planned[i].runs) continue;
    stop(*offered[i]);
    ++report.preemptions;
  }
  for (size_t i = 0; i < offered.size(); ++i) {
    if (!offered[i]->is_running && planned[i].runs) start(*offered[i], report);
  }
  std::vector<Part> parts;
  for (size_t i = 0; i < offered.size(); ++i) {
    for (int64_t taken = 0; taken < planned[i].blocks_new; ++taken) offered[i]->blocks.push_back(cache_.take());
    if (planned[i].tokens > 0) parts.push_back({.sequence = offered[i], .planned = planned[i]});
  }
  return parts;
}

void EngineLoop::start(Sequence& sequence, StepReport& report) {
  for (const int32_t block : sequence.blocks) cache_.share(block);
  sequence.blocks_stored = std::ssize(sequence.blocks);
  sequence.is_running = true;
  if (std::exchange(sequence.has_started, true)) return;
  sequence.cached_tokens = std::min(sequence.computed, sequence.prompt_tokens());
  report.cache_query_tokens += sequence.prompt_tokens();
  report.cache_hit_tokens += sequence.cached_tokens;
}

void EngineLoop::stop(Sequence& sequence) {
  cache_.release(sequence.blocks);
  sequence.blocks.clear();
  sequence.drafts.clear();
  sequence.computed = 0;
  sequence.can_store = true;
  sequence.prefill_end = sequence.known();
  sequence.is_running = false;
}

// Logits are wanted of the last known token and the guesses after it, or of all.
BatchSegment EngineLoop::make_segment(Part& part) {
  Sequence& sequence = *part.sequence;
  const int64_t tokens = part.planned.tokens;
  part.position = sequence.computed;
  std::span<const int32_t> ids =
      std::span(sequence.ids).subspan(static_cast<size_t>(sequence.computed), static_cast<size_t>(tokens));
  sequence.verifying.clear();
  if (part.planned.drafts > 0) {
    sequence.verifying.push_back(sequence.ids.back());
    sequence.verifying.insert(sequence.verifying.end(), sequence.drafts.begin(),
                              sequence.drafts.begin() + part.planned.drafts);
    ids = sequence.verifying;
  }
  const int64_t logits_begin = tokens == sequence.pending() ? tokens - 1 : tokens;
  return {.ids = ids,
          .position = sequence.computed,
          .prompt_tokens = sequence.prompt_tokens(),
          .blocks = sequence.blocks,
          .logits_begin = sequence.wants_prompt_logits() ? 0 : logits_begin};
}

// `logits`: the rows of this part.
void EngineLoop::read_logits(Part& part, std::span<const float> logits, StepReport& report) {
  Sequence& sequence = *part.sequence;
  const int64_t tokens = part.planned.tokens;
  const int64_t read = std::clamp<int64_t>(sequence.prefill_end - sequence.computed, 0, tokens);
  report.prefill_tokens += read;
  report.decode_tokens += tokens - read;
  sequence.computed += tokens;
  if (logits.empty()) return;

  SequenceOutput output;
  output.id = sequence.request.id;
  if (sequence.wants_prompt_logits()) generation_.report_prompt(sequence, part.position, logits, output);
  if (sequence.pending() == 0) {
    output.prefill_done = !std::exchange(sequence.has_prefilled, true);
    if (output.prefill_done) output.cached_tokens = sequence.cached_tokens;
    const auto rows = static_cast<size_t>((1 + part.planned.drafts) * config_.vocab_size);
    const int64_t accepted = generation_.draw(sequence, logits.last(rows), output);
    sequence.computed = sequence.known() - 1;
    part.is_finished = output.finish != Finish::kNone;
    report.decode_tokens += accepted;
    output.draft_tokens = part.planned.drafts;
    output.draft_tokens_accepted = accepted;
    report.draft_tokens += output.draft_tokens;
    report.draft_tokens_accepted += accepted;
  }
  if (!output.ids.empty() || !output.prompt_logprobs.empty()) report.outputs.push_back(std::move(output));
}

// Lets the draft layer read every token that the step computed for good, also of sequences that go no further: its
// entries are shared with the blocks. Its entry of a position depends on the token after it, so that of a shared
// block's last position may have been made for another sequence: that makes a guess worse, never a token wrong.
void EngineLoop::draft(std::span<Part> parts) {
  if (options_.draft_tokens == 0) return;
  std::vector<DraftSegment> segments;
  int64_t row = 0;
  for (const Part& part : parts) {
    const Sequence& sequence = *part.sequence;
    const auto next = std::span(sequence.ids).subspan(static_cast<size_t>(part.position) + 1);
    segments.push_back({.row_begin = row,
                        .next_ids = next.first(static_cast<size_t>(sequence.computed - part.position)),
                        .position = part.position,
                        .prompt_tokens = sequence.prompt_tokens(),
                        .blocks = sequence.blocks,
                        .drafts = drafts_wanted(part)});
    row += part.planned.tokens + part.planned.drafts;
  }
  std::span<const int32_t> guesses = forward_->draft(segments);
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto own = guesses.first(static_cast<size_t>(segments[i].drafts));
    parts[i].sequence->drafts.assign(own.begin(), own.end());
    guesses = guesses.subspan(own.size());
  }
}

// No more than can still be put out, one token of each step being drawn anyway, and than its blocks can hold.
int64_t EngineLoop::drafts_wanted(const Part& part) const {
  const Sequence& sequence = *part.sequence;
  if (part.is_finished || sequence.pending() != 1) return 0;
  const int64_t room = std::ssize(sequence.blocks) * kBlockTokens - sequence.computed + 1;
  return std::min({static_cast<int64_t>(options_.draft_tokens), sequence.outputs_left() - 1, room});
}

// Makes the blocks findable that are full of tokens computed for good.
void EngineLoop::store(Sequence& sequence) {
  while (sequence.can_store && (sequence.blocks_stored + 1) * kBlockTokens <= sequence.computed) {
    const int64_t index = sequence.blocks_stored;
    const auto stored = cache_.store(sequence.blocks[index], sequence.content_of(index));
    sequence.can_store = stored.has_value();
    if (!stored) break;
    sequence.blocks[index] = *stored;
    ++sequence.blocks_stored;
  }
}

StepReport EngineLoop::step() {
  StepReport report;
  std::vector<Part> parts = plan(report);
  std::vector<BatchSegment> segments;
  for (Part& part : parts) segments.push_back(make_segment(part));
  if (!segments.empty()) {
    std::span<const float> logits = forward_->compute(segments);
    report.work = forward_->work();
    for (size_t i = 0; i < parts.size(); ++i) {
      const size_t rows = segments[i].ids.size() - static_cast<size_t>(segments[i].logits_begin);
      const auto own = logits.first(rows * static_cast<size_t>(config_.vocab_size));
      logits = logits.subspan(own.size());
      read_logits(parts[i], own, report);
    }
    draft(parts);
  }
  for (const Part& part : parts) {
    store(*part.sequence);
    if (part.is_finished) cancel(part.sequence->request.id);
  }
  report.kv_events = cache_.take_events();
  return report;
}

}  // namespace bellwether::engine
