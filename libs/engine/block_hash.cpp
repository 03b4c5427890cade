#include "engine/block_hash.h"

#include "engine/mix.h"

namespace bellwether::engine {

uint64_t block_hash(uint64_t parent, std::span<const int32_t> ids, int64_t prompt_tokens, uint64_t salt) {
  uint64_t hash = mix(parent + kGolden);
  hash = mix((hash ^ salt) + kGolden);
  hash = mix((hash ^ static_cast<uint64_t>(prompt_tokens)) + kGolden);
  for (const int32_t id : ids) hash = mix((hash ^ static_cast<uint32_t>(id)) + kGolden);
  return hash == 0 ? 1 : hash;
}

std::vector<uint64_t> prompt_block_hashes(std::span<const int32_t> prompt_ids, uint64_t salt) {
  std::vector<uint64_t> hashes;
  uint64_t parent = 0;
  for (size_t end = kBlockTokens; end <= prompt_ids.size(); end += kBlockTokens) {
    parent = block_hash(parent, prompt_ids.subspan(end - kBlockTokens, kBlockTokens), kBlockTokens, salt);
    hashes.push_back(parent);
  }
  return hashes;
}

}  // namespace bellwether::engine
