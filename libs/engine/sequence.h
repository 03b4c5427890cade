// What the engine's loop knows of one sequence.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/kv_cache.h"
#include "engine/sampler.h"

namespace bellwether::engine {

struct Sequence {
  explicit Sequence(SequenceRequest admitted);

  SequenceRequest request;
  std::vector<int32_t> ids;  // prompt and output so far
  int64_t computed = 0;      // of ids, how many are in the KV cache
  int64_t prefill_end = 0;   // of ids, how many were known when it last began to run: those below are read, not drawn
  bool is_running = false;

  // Running: the blocks that it holds, in order of position; those before blocks_stored can be found by others.
  // Waiting: those that it found in the cache when it last looked, and does not hold.
  std::vector<int32_t> blocks;
  int64_t blocks_stored = 0;
  bool can_store = true;         // false after a block whose hash another content has
  std::vector<uint64_t> hashes;  // of the full blocks of ids

  std::vector<int32_t> drafts;     // guesses of what follows ids
  std::vector<int32_t> verifying;  // in a step that verifies guesses: the last of ids, then those guesses
  TokenCounts counts;              // for the penalties; empty when there are none

  // What was reported already, so that a sequence that is computed again does not report it again.
  bool has_started = false;
  bool has_prefilled = false;
  int64_t cached_tokens = 0;  // of the prompt, found in the cache at the start
  int64_t prompt_logprobs_sent = 0;

  [[nodiscard]] int64_t known() const { return std::ssize(ids); }
  [[nodiscard]] int64_t pending() const { return known() - computed; }
  [[nodiscard]] int64_t prompt_tokens() const { return std::ssize(request.prompt_ids); }
  [[nodiscard]] int64_t outputs_left() const { return request.max_tokens - (known() - prompt_tokens()); }
  [[nodiscard]] bool wants_prompt_logits() const {
    return request.prompt_logprobs >= 0 && prompt_logprobs_sent < prompt_tokens() - 1;
  }

  void append(int32_t id);
  // Of the full block at `index`. REQUIRES: hashes and blocks reach to there, blocks at least to its parent.
  [[nodiscard]] BlockContent content_of(int64_t index) const;
};

}  // namespace bellwether::engine
