#include "api-gateway/logprobs.h"

#include <algorithm>
#include <cmath>

namespace bellwether::gateway {

namespace {

constexpr double kLogprobMin = -9999;  // JSON knows no infinity; vLLM writes this

TokenChance chance(const text::Tokenizer& tokenizer, const v1::TokenLogprob& token) {
  const double logprob = token.logprob();
  return {std::string(tokenizer.bytes(static_cast<text::TokenId>(token.id()))),
          std::isnan(logprob) ? kLogprobMin : std::clamp(logprob, kLogprobMin, 0.0)};
}

}  // namespace

std::vector<TokenLogprobs> token_logprobs(const text::Tokenizer& tokenizer, const TokenPiece& piece, size_t count) {
  std::vector<TokenLogprobs> entries;
  if (piece.logprobs.size() != piece.ids.size() || piece.ids.empty()) return entries;
  const size_t alternatives = piece.top_logprobs.size() / piece.ids.size();
  for (size_t i = 0; i < std::min(count, piece.ids.size()); ++i) {
    TokenLogprobs& entry = entries.emplace_back();
    entry.chosen = chance(tokenizer, piece.logprobs[i]);
    for (size_t k = 0; k < alternatives; ++k) {
      entry.top.push_back(chance(tokenizer, piece.top_logprobs[i * alternatives + k]));
    }
  }
  return entries;
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
