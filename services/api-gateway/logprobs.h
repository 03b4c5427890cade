// Log-probabilities as clients see them: with the tokens' text instead of ids.
#pragma once

#include <string>
#include <vector>

#include "api-gateway/token_order.h"
#include "text/tokenizer.h"

namespace bellwether::gateway {

struct TokenChance {
  text::TokenId id = 0;
  std::string bytes;  // may be a part of a UTF-8 character
  double logprob = 0;
};

struct TokenLogprobs {
  TokenChance chosen;
  std::vector<TokenChance> top;  // most likely first
};

// Of the piece's first `count` tokens; empty when the piece carries none.
[[nodiscard]] std::vector<TokenLogprobs> token_logprobs(const text::Tokenizer& tokenizer, const TokenPiece& piece,
                                                        size_t count);

// Of the piece's tokens of the prompt.
[[nodiscard]] std::vector<TokenLogprobs> prompt_logprobs(const text::Tokenizer& tokenizer, const TokenPiece& piece);

// Bytes as text: what is not UTF-8 becomes U+FFFD.
[[nodiscard]] std::string printable(std::string_view bytes);

}  // namespace bellwether::gateway
