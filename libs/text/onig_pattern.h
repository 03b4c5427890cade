// Oniguruma's patterns (Hugging Face's regular expressions) as PCRE2's.
#pragma once

#include <string>
#include <string_view>

namespace bellwether::text {

// The same pattern for PCRE2 with PCRE2_UTF and PCRE2_UCP. Space (\s, \S) is written out: PCRE2 counts U+180E, which
// left Unicode's White_Space in version 6.3, as space. Throws TextError for a construct which the two understand
// differently (a set within a set, \h, \w, ^, ...), as no tokenizer known to us needs one.
[[nodiscard]] std::string pcre_from_onig(std::string_view pattern);

}  // namespace bellwether::text
