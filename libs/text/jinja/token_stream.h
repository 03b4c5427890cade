// The tokens of a template as the parser takes them.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "text/jinja/lexer.h"

namespace bellwether::text::jinja {

class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  [[nodiscard]] const Token& current() const { return tokens_[at_]; }
  [[nodiscard]] const Token& next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  [[nodiscard]] bool is(TokenKind kind) const { return current().kind == kind; }
  [[nodiscard]] bool is(TokenKind kind, std::string_view text) const {
    return current().kind == kind && current().text == text;
  }
  [[nodiscard]] bool is_name(std::string_view name) const { return is(TokenKind::kName, name); }
  [[nodiscard]] bool is_operator(std::string_view text) const { return is(TokenKind::kOperator, text); }

  // The current token, and goes on. At the end it stays.
  const Token& take();
  [[nodiscard]] bool take_if_name(std::string_view name);
  [[nodiscard]] bool take_if_operator(std::string_view text);
  // They throw LoadError when something else is there.
  void expect_operator(std::string_view text);
  void expect_name(std::string_view name);
  std::string_view expect_any_name();
  void expect(TokenKind kind);
  [[noreturn]] void fail(std::string_view message) const;  // at the current token's line
  [[noreturn]] void fail_unexpected(std::string_view expected) const;

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
};

}  // namespace bellwether::text::jinja
