#include "api-gateway/logprobs.h"

#include <algorithm>
#include <cmath>

namespace bellwether::gateway {

namespace {

constexpr double kLogprobMin = -9999;  // JSON knows no infinity; vLLM writes this

TokenChance chance(const text::Tokenizer& tokenizer, const v1::TokenLogprob& token) {
  const auto id = static_cast<text::TokenId>(token.id());
  const double logprob = token.logprob();
  return {id, std::string(tokenizer.bytes(id)),
          std::isnan(logprob) ? kLogprobMin : std::clamp(logprob, kLogprobMin, 0.0)};
}

// The first `count` of them; `top` has the same number for each of the `chosen`.
std::vector<TokenLogprobs> entries_of(const text::Tokenizer& tokenizer, const std::vector<v1::TokenLogprob>& chosen,
                                      const std::vector<v1::TokenLogprob>& top, size_t count) {
  std::vector<TokenLogprobs> entries;
  if (chosen.empty()) return entries;
  const size_t alternatives = top.size() / chosen.size();
  for (size_t i = 0; i < std::min(count, chosen.size()); ++i) {
    TokenLogprobs& entry = entries.emplace_back();
    entry.chosen = chance(tokenizer, chosen[i]);
    for (size_t k = 0; k < alternatives; ++k) entry.top.push_back(chance(tokenizer, top[i * alternatives + k]));
  }
  return entries;
}

}  // namespace

std::vector<TokenLogprobs> token_logprobs(const text::Tokenizer& tokenizer, const TokenPiece& piece, size_t count) {
  if (piece.logprobs.size() != piece.ids.size()) return {};
  return entries_of(tokenizer, piece.logprobs, piece.top_logprobs, count);
}

std::vector<TokenLogprobs> prompt_logprobs(const text::Tokenizer& tokenizer, const TokenPiece& piece) {
  return entries_of(tokenizer, piece.prompt_logprobs, piece.prompt_top_logprobs, piece.prompt_logprobs.size());
}

std::string printable(std::string_view bytes) {
  if (text::is_valid_utf8(bytes)) return std::string(bytes);
  // Only whole tokens come here, which are short: one replacement for each byte that starts nothing is enough.
  std::string text;
  for (size_t i = 0; i < bytes.size();) {
    size_t size = 0;
    for (size_t candidate = 1; candidate <= 4 && i + candidate <= bytes.size() && size == 0; ++candidate) {
      if (text::is_valid_utf8(bytes.substr(i, candidate))) size = candidate;
    }
    text += size == 0 ? std::string_view("\xEF\xBF\xBD") : bytes.substr(i, size);
    i += std::max<size_t>(size, 1);
  }
  return text;
}

}  // namespace bellwether::gateway
