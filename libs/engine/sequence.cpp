#include "engine/sequence.h"

#include <algorithm>
#include <span>

#include "engine/block_hash.h"

namespace bellwether::engine {
namespace {

// Of the block's tokens, how many belong to the prompt.
int64_t prompt_tokens_in(const Sequence& sequence, int64_t index) {
  return std::clamp<int64_t>(sequence.prompt_tokens() - index * kBlockTokens, 0, kBlockTokens);
}

std::span<const int32_t> block_ids(const Sequence& sequence, int64_t index) {
  return std::span(sequence.ids).subspan(static_cast<size_t>(index * kBlockTokens), kBlockTokens);
}

void extend_hashes(Sequence& sequence) {
  while ((std::ssize(sequence.hashes) + 1) * kBlockTokens <= sequence.known()) {
    const int64_t index = std::ssize(sequence.hashes);
    const uint64_t parent = index == 0 ? 0 : sequence.hashes.back();
    sequence.hashes.push_back(
        block_hash(parent, block_ids(sequence, index), prompt_tokens_in(sequence, index), sequence.request.cache_salt));
  }
}

}  // namespace

Sequence::Sequence(SequenceRequest admitted) : request(std::move(admitted)), ids(request.prompt_ids) {
  if (has_penalties(request.sampling)) {
    for (const int32_t id : ids) counts.try_emplace(id, 0);
  }
  for (const int32_t id : request.output_ids) append(id);
  extend_hashes(*this);
  prefill_end = known();
}

void Sequence::append(int32_t id) {
  ids.push_back(id);
  if (has_penalties(request.sampling)) ++counts[id];
  if (request.constraint != nullptr) request.constraint->accept(id);
  extend_hashes(*this);
}

BlockContent Sequence::content_of(int64_t index) const {
  return {.hash = hashes[index],
          .parent = index == 0 ? -1 : blocks[index - 1],
          .ids = block_ids(*this, index),
          .prompt_tokens = prompt_tokens_in(*this, index),
          .salt = request.cache_salt};
}

}  // namespace bellwether::engine
