#include "text/jinja/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "text/jinja/expression_parser.h"

namespace bellwether::text::jinja {
namespace {

class Parser {
 public:
  Parser(std::vector<Token> tokens, const Limits& limits) : tokens_(std::move(tokens)), expressions_(tokens_, limits) {}

  // Up to a tag with one of these names, which stands there then; none: up to the template's end.
  [[nodiscard]] Statements parse_statements(std::initializer_list<std::string_view> ends);

 private:
  [[nodiscard]] Statement parse_tag();
  [[nodiscard]] Statement::Node parse_tag_named(std::string_view name);
  // Behind a tag's name and arguments: its end, then the body up to a tag of one of these names, which is taken.
  [[nodiscard]] Statements parse_body(std::initializer_list<std::string_view> ends, std::string& end);
  [[nodiscard]] Statements parse_body(std::string_view end);
  [[nodiscard]] Target parse_target(bool with_member);
  [[nodiscard]] Target parse_one_target(bool with_member);
  [[nodiscard]] Parameters parse_parameters();
  [[nodiscard]] Statement::Node parse_for();
  [[nodiscard]] Statement::Node parse_if();
  [[nodiscard]] Statement::Node parse_set();
  [[nodiscard]] Statement::Node parse_macro();
  [[nodiscard]] Statement::Node parse_call_block();
  [[nodiscard]] Statement::Node parse_with();
  void require_loop(std::string_view name) const;

  TokenStream tokens_;
  ExpressionParser expressions_;
  size_t loops_ = 0;  // around the current token, in the same macro
  bool in_macro_ = false;
};

Statements Parser::parse_statements(std::initializer_list<std::string_view> ends) {
  const ExpressionParser::Level level(expressions_);
  Statements statements;
  while (!tokens_.is(TokenKind::kEnd)) {
    const uint32_t line = tokens_.current().line;
    if (tokens_.is(TokenKind::kData)) {
      auto text = std::make_shared<const std::string>(tokens_.take().text);
      statements.push_back({.node = Data{std::move(text)}, .line = line});
    } else if (tokens_.is(TokenKind::kPrintBegin)) {
      tokens_.take();
      statements.push_back({.node = Print{expressions_.parse_tuple()}, .line = line});
      tokens_.expect(TokenKind::kPrintEnd);
    } else {
      tokens_.expect(TokenKind::kTagBegin);
      const auto is_here = [&](std::string_view end) { return tokens_.is_name(end); };
      if (std::any_of(ends.begin(), ends.end(), is_here)) return statements;
      statements.push_back(parse_tag());
      tokens_.expect(TokenKind::kTagEnd);
    }
  }
  if (ends.size() > 0) tokens_.fail(fmt::format("a tag is missing: {{% {} %}}", *(ends.end() - 1)));
  return statements;
}

Statements Parser::parse_body(std::initializer_list<std::string_view> ends, std::string& end) {
  tokens_.expect(TokenKind::kTagEnd);
  Statements body = parse_statements(ends);
  end = tokens_.expect_any_name();
  return body;
}

Statements Parser::parse_body(std::string_view end) {
  std::string found;
  return parse_body({end}, found);
}

Statement Parser::parse_tag() {
  const uint32_t line = tokens_.current().line;
  const std::string name = tokens_.current().text;
  if (!tokens_.is(TokenKind::kName)) tokens_.fail_unexpected("the name of a tag");
  tokens_.take();
  return {.node = parse_tag_named(name), .line = line};
}

Statement::Node Parser::parse_tag_named(std::string_view name) {
  if (name == "for") return parse_for();
  if (name == "if") return parse_if();
  if (name == "set") return parse_set();
  if (name == "macro") return parse_macro();
  if (name == "call") return parse_call_block();
  if (name == "with") return parse_with();
  if (name == "filter") {
    ExpressionPtr filter = expressions_.parse_block_filters(true);
    return FilterBlock{.filter = std::move(filter), .body = parse_body("endfilter")};
  }
  if (name == "generation") return Scoped{.body = parse_body("endgeneration")};
  if (name == "break") {
    require_loop(name);
    return Break{};
  }
  if (name == "continue") {
    require_loop(name);
    return Continue{};
  }
  tokens_.fail(fmt::format("the tag '{}' is not supported here", name));
}

void Parser::require_loop(std::string_view name) const {
  if (loops_ == 0) tokens_.fail(fmt::format("'{}' outside of a loop", name));
}

Target Parser::parse_one_target(bool with_member) {
  if (tokens_.take_if_operator("(")) {
    const ExpressionParser::Level level(expressions_);
    Target target = parse_target(with_member);
    tokens_.expect_operator(")");
    return target;
  }
  Target target{.name = std::string(tokens_.expect_any_name())};
  for (const std::string_view constant : {"true", "false", "none", "True", "False", "None"}) {
    if (target.name == constant) tokens_.fail(fmt::format("'{}' cannot be assigned to", constant));
  }
  if (with_member && tokens_.take_if_operator(".")) target.member = tokens_.expect_any_name();
  return target;
}

Target Parser::parse_target(bool with_member) {
  Target first = parse_one_target(with_member);
  if (!tokens_.is_operator(",")) return first;
  Target tuple{.name = {}, .parts = {}, .is_tuple = true};
  tuple.parts.push_back(std::move(first));
  while (tokens_.take_if_operator(",") &&
         (tokens_.is_operator("(") || (tokens_.is(TokenKind::kName) && !tokens_.is_name("in")))) {
    tuple.parts.push_back(parse_one_target(with_member));
  }
  return tuple;
}

Parameters Parser::parse_parameters() {
  Parameters parameters;
  tokens_.expect_operator("(");
  while (!tokens_.is_operator(")")) {
    Parameters::Parameter parameter{.name = std::string(tokens_.expect_any_name()), .default_value = nullptr};
    if (tokens_.take_if_operator("=")) {
      parameter.default_value = expressions_.parse();
    } else if (!parameters.parameters.empty() && parameters.parameters.back().default_value != nullptr) {
      tokens_.fail(fmt::format("the parameter '{}' has no default and follows one that has", parameter.name));
    }
    parameters.parameters.push_back(std::move(parameter));
    if (!tokens_.take_if_operator(",")) break;
  }
  tokens_.expect_operator(")");
  return parameters;
}

Statement::Node Parser::parse_for() {
  For node{.target = parse_target(false), .items = {}, .condition = {}, .body = {}, .otherwise = {}};
  tokens_.expect_name("in");
  node.items = expressions_.parse_tuple(false);
  if (tokens_.take_if_name("if")) node.condition = expressions_.parse();
  if (tokens_.is_name("recursive")) tokens_.fail("recursive loops are not supported");
  ++loops_;
  std::string end;
  node.body = parse_body({"else", "endfor"}, end);
  --loops_;
  if (end == "else") node.otherwise = parse_body("endfor");
  return node;
}

Statement::Node Parser::parse_if() {
  If node;
  std::string end;
  do {
    ExpressionPtr condition = expressions_.parse_tuple(false);
    node.branches.push_back({.condition = std::move(condition), .body = parse_body({"elif", "else", "endif"}, end)});
  } while (end == "elif");
  if (end == "else") node.otherwise = parse_body("endif");
  return node;
}

Statement::Node Parser::parse_set() {
  Target target = parse_target(true);
  if (tokens_.take_if_operator("=")) return Set{.target = std::move(target), .value = expressions_.parse_tuple()};
  ExpressionPtr filter = expressions_.parse_block_filters(false);
  return SetBlock{.target = std::move(target), .filter = std::move(filter), .body = parse_body("endset")};
}

Statement::Node Parser::parse_macro() {
  Macro macro{.name = std::string(tokens_.expect_any_name()), .parameters = {}, .body = {}};
  macro.parameters = parse_parameters();
  const size_t loops = std::exchange(loops_, 0);
  const bool in_macro = std::exchange(in_macro_, true);
  expressions_.set_in_macro(true);
  macro.body = parse_body("endmacro");
  expressions_.set_in_macro(in_macro);
  in_macro_ = in_macro;
  loops_ = loops;
  return macro;
}

Statement::Node Parser::parse_call_block() {
  CallBlock block;
  if (tokens_.is_operator("(")) block.parameters = parse_parameters();
  block.call = expressions_.parse();
  if (!std::holds_alternative<Call>(block.call->node)) tokens_.fail("expected a call");
  const size_t loops = std::exchange(loops_, 0);
  block.body = parse_body("endcall");
  loops_ = loops;
  return block;
}

Statement::Node Parser::parse_with() {
  With with;
  while (!tokens_.is(TokenKind::kTagEnd)) {
    Target target = parse_one_target(false);
    tokens_.expect_operator("=");
    with.variables.emplace_back(std::move(target), expressions_.parse());
    if (!tokens_.take_if_operator(",")) break;
  }
  with.body = parse_body("endwith");
  return with;
}

}  // namespace

Statements parse(std::string_view source, const Limits& limits) {
  if (source.size() > limits.template_bytes_max) {
    throw LoadError(fmt::format("the template has more than {} bytes", limits.template_bytes_max));
  }
  return Parser(tokenize(source), limits).parse_statements({});
}

}  // namespace bellwether::text::jinja
