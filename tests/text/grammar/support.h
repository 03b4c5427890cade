// What the tests of grammars share.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/grammar/constraint.h"
#include "text/grammar/matcher.h"
#include "text/grammar/recognizer.h"
#include "text/support.h"

namespace bellwether::text::grammar {

inline std::shared_ptr<const Automaton> compiled(const Constraint& constraint, const GrammarLimits& limits = {}) {
  return compile(constraint, limits, [](std::string_view marker) { return marker.starts_with('<'); });
}

inline bool accepts(const Automaton& automaton, std::string_view text) {
  Recognizer recognizer(automaton);
  recognizer.begin();
  return std::ranges::all_of(text, [&](char byte) { return recognizer.read(static_cast<uint8_t>(byte)); }) &&
         recognizer.may_end();
}

inline bool accepts(const Constraint& constraint, std::string_view text) {
  return accepts(*compiled(constraint), text);
}

// "WHERE: complaint" of a constraint that is refused; "" when it is not.
inline std::string refusal(const Constraint& constraint, const GrammarLimits& limits = {}) {
  try {
    (void)compiled(constraint, limits);
    return "";
  } catch (const GrammarError& error) {
    return error.what();
  }
}

inline std::shared_ptr<const Vocabulary> demo_vocabulary() {
  static const auto vocabulary = std::make_shared<const Vocabulary>(demo_tokenizer(), 2048);
  return vocabulary;
}

inline std::vector<TokenId> ids_in(const std::vector<uint64_t>& mask) {
  std::vector<TokenId> ids;
  for (size_t i = 0; i < mask.size() * 64; ++i) {
    if ((mask[i / 64] >> (i % 64) & 1) != 0) ids.push_back(static_cast<TokenId>(i));
  }
  return ids;
}

inline std::vector<TokenId> allowed_of(Matcher& matcher, size_t words) {
  std::vector<uint64_t> mask(words);
  matcher.fill_allowed(mask);
  return ids_in(mask);
}

}  // namespace bellwether::text::grammar
