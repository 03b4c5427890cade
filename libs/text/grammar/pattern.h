// Regular expressions, as ECMA-262 writes them (which JSON Schema's `pattern` means) and most others do.
#pragma once

#include <string_view>

#include "text/grammar/budget.h"
#include "text/grammar/expression.h"

namespace bellwether::text::grammar {

// What a pattern must match.
enum class Match {
  kWhole,      // the whole text, as vLLM's `regex`; ^ and $ at its ends mean nothing
  kSomewhere,  // a part of it, as JSON Schema's `pattern`, unless anchored by ^ and $
};

// Supported: characters, . (all but line ends), classes, \d \w \s and their opposites, \t \n \v \f \r \0 \xHH \uHHHH
// \u{H...} \cX, groups (capturing or not, named or not), |, * + ? {m} {m,} {m,n} and their lazy forms, and ^ and $ at
// the very ends of the pattern or of one of its outermost alternatives. \d and \w are ASCII, \s is ECMA-262's. Refused
// by name: look-around, backreferences, \b \B \p \P, flags, possessive quantifiers, anchors elsewhere. Throws
// GrammarError with "character N", from 1. REQUIRES: `pattern` is UTF-8.
[[nodiscard]] Expression parse_pattern(std::string_view pattern, Match match, const GrammarLimits& limits);

}  // namespace bellwether::text::grammar
