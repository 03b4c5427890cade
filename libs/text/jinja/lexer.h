// A template's text to tokens, with Jinja's control of white space as transformers sets it (trim_blocks,
// lstrip_blocks): a line feed after a {% %} or {# #} goes away, and so does the space before one that begins its line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bellwether::text::jinja {

enum class TokenKind {
  kData,  // text outside of tags
  kPrintBegin,
  kPrintEnd,
  kTagBegin,
  kTagEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,  // of the template
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  uint32_t line = 1;      // from 1
  std::string text = {};  // of a name, an operator; the value of a string or of data
  int64_t integer = 0;
  double number = 0;
};

// The last token is kEnd. Throws LoadError with the line.
[[nodiscard]] std::vector<Token> tokenize(std::string_view source);

}  // namespace bellwether::text::jinja
