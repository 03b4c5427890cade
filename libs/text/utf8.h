// UTF-8, one character at a time (Unicode 15, table 3-7 and section 3.9).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace bellwether::text {

enum class Utf8Kind {
  kCharacter,   // a well-formed character
  kIllFormed,   // bytes that can never become a character: a maximal subpart, or one byte that begins nothing
  kIncomplete,  // the text ends inside a character that is well-formed so far
};

struct Utf8Step {
  Utf8Kind kind;
  size_t length;  // bytes, at least 1
};

// What the text begins with. REQUIRES: `text` is not empty.
[[nodiscard]] Utf8Step next_utf8(std::string_view text);

// Appends `text` to `out` with each ill-formed part replaced by U+FFFD, but for an incomplete character at its end.
// Returns how many bytes that has: 0 to 3.
[[nodiscard]] size_t append_repaired_utf8(std::string_view text, std::string& out);

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

}  // namespace bellwether::text
