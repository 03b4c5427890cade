#include "text/jinja/token_stream.h"

#include <fmt/format.h>

#include <string>

#include "text/jinja/budget.h"

namespace bellwether::text::jinja {
namespace {

std::string described(TokenKind kind) {
  switch (kind) {
    case TokenKind::kData:
      return "text";
    case TokenKind::kPrintBegin:
      return "{{";
    case TokenKind::kPrintEnd:
      return "}}";
    case TokenKind::kTagBegin:
      return "{%";
    case TokenKind::kTagEnd:
      return "%}";
    case TokenKind::kName:
      return "a name";
    case TokenKind::kString:
      return "a string";
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return "a number";
    case TokenKind::kOperator:
      return "an operator";
    case TokenKind::kEnd:
      return "the end of the template";
  }
  return "";
}

}  // namespace

const Token& TokenStream::take() {
  const Token& token = current();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool TokenStream::take_if_name(std::string_view name) {
  if (!is_name(name)) return false;
  take();
  return true;
}

bool TokenStream::take_if_operator(std::string_view text) {
  if (!is_operator(text)) return false;
  take();
  return true;
}

void TokenStream::expect_operator(std::string_view text) {
  if (!take_if_operator(text)) fail_unexpected(fmt::format("'{}'", text));
}

void TokenStream::expect_name(std::string_view name) {
  if (!take_if_name(name)) fail_unexpected(fmt::format("'{}'", name));
}

std::string_view TokenStream::expect_any_name() {
  if (!is(TokenKind::kName)) fail_unexpected("a name");
  return take().text;
}

void TokenStream::expect(TokenKind kind) {
  if (!is(kind)) fail_unexpected(described(kind));
  take();
}

void TokenStream::fail(std::string_view message) const {
  throw LoadError(fmt::format("line {}: {}", current().line, message));
}

void TokenStream::fail_unexpected(std::string_view expected) const {
  const Token& token = current();
  const bool named = token.kind == TokenKind::kName || token.kind == TokenKind::kOperator;
  const std::string found = named ? fmt::format("'{}'", token.text) : described(token.kind);
  fail(fmt::format("expected {}, not {}", expected, found));
}

}  // namespace bellwether::text::jinja
