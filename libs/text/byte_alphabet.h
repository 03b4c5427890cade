// The alphabet in which byte-level tokenizers write bytes: one printable character for each of the 256 values.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace bellwether::text {

// The bytes that a token's text in tokenizer.json stands for; nothing if it has a character outside the alphabet.
// REQUIRES: `token` is UTF-8.
[[nodiscard]] std::optional<std::string> bytes_of_token(std::string_view token);

}  // namespace bellwether::text
