// The names of KV blocks: a chain of hashes, so that equal names mean equal tokens from the first on (as far as 64 bits
// can tell: the cache compares the tokens themselves before it shares a block).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/kv_blocks.h"

namespace bellwether::engine {

// Of a full block (kBlockTokens ids) after `parent` (0 = the first). `prompt_tokens`: how many of them belong to the
// prompt; tokens of the prompt and generated ones are computed by different arithmetic (forward.h), so blocks that
// differ in it are different blocks. Never 0. The same on every machine and in every version of one major number.
[[nodiscard]] uint64_t block_hash(uint64_t parent, std::span<const int32_t> ids, int64_t prompt_tokens, uint64_t salt);

// Of every full block of a prompt, in order.
[[nodiscard]] std::vector<uint64_t> prompt_block_hashes(std::span<const int32_t> prompt_ids, uint64_t salt);

}  // namespace bellwether::engine
