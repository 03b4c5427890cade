#include "text/jinja/expression_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "text/jinja/filters.h"
#include "text/jinja/methods.h"
#include "text/jinja/value_tests.h"

namespace bellwether::text::jinja {
namespace {

template <typename Node>
ExpressionPtr make(uint32_t line, Node node) {
  return std::make_unique<const Expression>(Expression{.node = std::move(node), .line = line});
}

ExpressionPtr make_binary(uint32_t line, BinaryOperator operation, ExpressionPtr left, ExpressionPtr right) {
  return make(line, Binary{.operation = operation, .left = std::move(left), .right = std::move(right)});
}

const std::string* constant_text(const Expression& expression) {
  const auto* const constant = std::get_if<Constant>(&expression.node);
  return constant == nullptr ? nullptr : constant->value.if_text();
}

}  // namespace

ExpressionParser::Level::Level(ExpressionParser& parser, size_t levels) : parser_(parser), levels_(levels) {
  parser_.check_chain(levels);
  parser_.depth_ += levels;
}

void ExpressionParser::check_chain(size_t links) const {
  if (depth_ + links > limits_.depth_max) {
    tokens_.fail(fmt::format("nested deeper than {} levels", limits_.depth_max));
  }
}

ExpressionPtr ExpressionParser::parse(bool conditional) {
  const Level level(*this);
  return conditional ? parse_conditional() : parse_or();
}

ExpressionPtr ExpressionParser::parse_tuple(bool conditional) {
  const uint32_t line = tokens_.current().line;
  const auto ends = [&] {
    return tokens_.is(TokenKind::kPrintEnd) || tokens_.is(TokenKind::kTagEnd) || tokens_.is_operator(")") ||
           tokens_.is_name("recursive");
  };
  ExpressionPtr first = parse(conditional);
  if (!tokens_.is_operator(",")) return first;
  ListLiteral tuple{.items = {}, .is_tuple = true};
  tuple.items.push_back(std::move(first));
  while (tokens_.take_if_operator(",") && !ends()) tuple.items.push_back(parse(conditional));
  return make(line, std::move(tuple));
}

ExpressionPtr ExpressionParser::parse_conditional() {
  ExpressionPtr value = parse_or();
  for (size_t links = 1; tokens_.is_name("if"); ++links) {
    check_chain(links);
    const uint32_t line = tokens_.take().line;
    ExpressionPtr condition = parse_or();
    ExpressionPtr otherwise = tokens_.take_if_name("else") ? parse() : nullptr;
    value =
        make(line, Conditional{.condition = std::move(condition), .yes = std::move(value), .no = std::move(otherwise)});
  }
  return value;
}

ExpressionPtr ExpressionParser::parse_or() {
  ExpressionPtr left = parse_and();
  for (size_t links = 1; tokens_.is_name("or"); ++links) {
    check_chain(links);
    const uint32_t line = tokens_.take().line;
    left = make_binary(line, BinaryOperator::kOr, std::move(left), parse_and());
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_and() {
  ExpressionPtr left = parse_not();
  for (size_t links = 1; tokens_.is_name("and"); ++links) {
    check_chain(links);
    const uint32_t line = tokens_.take().line;
    left = make_binary(line, BinaryOperator::kAnd, std::move(left), parse_not());
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_not() {
  if (!tokens_.is_name("not")) return parse_comparison();
  const Level level(*this);
  const uint32_t line = tokens_.take().line;
  return make(line, Unary{.operation = UnaryOperator::kNot, .operand = parse_not()});
}

std::optional<Comparator> ExpressionParser::take_comparator() {
  constexpr std::pair<std::string_view, Comparator> kComparators[] = {
      {"==", Comparator::kEqual},       {"!=", Comparator::kNotEqual}, {"<", Comparator::kLess},
      {"<=", Comparator::kLessOrEqual}, {">", Comparator::kGreater},   {">=", Comparator::kGreaterOrEqual}};
  for (const auto& [text, comparator] : kComparators) {
    if (tokens_.take_if_operator(text)) return comparator;
  }
  if (tokens_.take_if_name("in")) return Comparator::kIn;
  const Token& next = tokens_.next();
  if (!tokens_.is_name("not") || next.kind != TokenKind::kName || next.text != "in") return std::nullopt;
  tokens_.take();
  tokens_.take();
  return Comparator::kNotIn;
}

ExpressionPtr ExpressionParser::parse_comparison() {
  const uint32_t line = tokens_.current().line;
  Comparison comparison{.first = parse_sum(), .rest = {}};
  while (const auto comparator = take_comparator()) comparison.rest.emplace_back(*comparator, parse_sum());
  return comparison.rest.empty() ? std::move(comparison.first) : make(line, std::move(comparison));
}

ExpressionPtr ExpressionParser::parse_sum() {
  ExpressionPtr left = parse_concatenation();
  for (size_t links = 1; tokens_.is_operator("+") || tokens_.is_operator("-"); ++links) {
    check_chain(links);
    const Token& sign = tokens_.take();
    const auto operation = sign.text == "+" ? BinaryOperator::kAdd : BinaryOperator::kSubtract;
    left = make_binary(sign.line, operation, std::move(left), parse_concatenation());
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_concatenation() {
  const uint32_t line = tokens_.current().line;
  Concatenation concatenation;
  do {
    concatenation.parts.push_back(parse_product());
  } while (tokens_.take_if_operator("~"));
  return concatenation.parts.size() == 1 ? std::move(concatenation.parts[0]) : make(line, std::move(concatenation));
}

ExpressionPtr ExpressionParser::parse_product() {
  constexpr std::pair<std::string_view, BinaryOperator> kOperators[] = {{"*", BinaryOperator::kMultiply},
                                                                        {"/", BinaryOperator::kDivide},
                                                                        {"//", BinaryOperator::kFloorDivide},
                                                                        {"%", BinaryOperator::kModulo}};
  ExpressionPtr left = parse_power();
  for (size_t links = 1;; ++links) {
    const auto* const found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                           [&](const auto& each) { return tokens_.is_operator(each.first); });
    if (found == std::end(kOperators)) return left;
    check_chain(links);
    if (found->second == BinaryOperator::kModulo && constant_text(*left) != nullptr) {
      tokens_.fail("formatting of a string by % is not supported");
    }
    const uint32_t line = tokens_.take().line;
    left = make_binary(line, found->second, std::move(left), parse_power());
  }
}

ExpressionPtr ExpressionParser::parse_power() {
  ExpressionPtr left = parse_signed(true);
  for (size_t links = 1; tokens_.is_operator("**"); ++links) {
    check_chain(links);
    const uint32_t line = tokens_.take().line;
    left = make_binary(line, BinaryOperator::kPower, std::move(left), parse_signed(true));
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_signed(bool with_filters) {
  ExpressionPtr value;
  if (tokens_.is_operator("-") || tokens_.is_operator("+")) {
    const Level level(*this);
    const Token& sign = tokens_.take();
    const auto operation = sign.text == "-" ? UnaryOperator::kMinus : UnaryOperator::kPlus;
    value = make(sign.line, Unary{.operation = operation, .operand = parse_signed(false)});
  } else {
    value = parse_primary();
  }
  value = parse_postfix(std::move(value));
  return with_filters ? parse_filters_and_tests(std::move(value)) : std::move(value);
}

ExpressionPtr ExpressionParser::parse_primary() {
  const Token& token = tokens_.current();
  if (token.kind == TokenKind::kName) return parse_name();
  if (token.kind == TokenKind::kString) return parse_string();
  if (token.kind == TokenKind::kInteger) return make(token.line, Constant{Value(tokens_.take().integer)});
  if (token.kind == TokenKind::kFloat) return make(token.line, Constant{Value(tokens_.take().number)});
  if (tokens_.is_operator("(")) return parse_parentheses();
  if (tokens_.is_operator("[")) return parse_list();
  if (tokens_.is_operator("{")) return parse_dict();
  tokens_.fail_unexpected("an expression");
}

ExpressionPtr ExpressionParser::parse_name() {
  const Token& token = tokens_.take();
  const std::string& name = token.text;
  if (name == "true" || name == "True") return make(token.line, Constant{Value(true)});
  if (name == "false" || name == "False") return make(token.line, Constant{Value(false)});
  if (in_macro_ && (name == "varargs" || name == "kwargs")) tokens_.fail(fmt::format("'{}' is not supported", name));
  if (name == "none" || name == "None") return make(token.line, Constant{});
  return make(token.line, Variable{name});
}

// Strings that follow each other are one.
ExpressionPtr ExpressionParser::parse_string() {
  const uint32_t line = tokens_.current().line;
  std::string text;
  while (tokens_.is(TokenKind::kString)) text.append(tokens_.take().text);
  return make(line, Constant{Value(std::move(text))});
}

ExpressionPtr ExpressionParser::parse_parentheses() {
  const uint32_t line = tokens_.take().line;
  if (tokens_.take_if_operator(")")) return make(line, ListLiteral{.items = {}, .is_tuple = true});
  ExpressionPtr inside = parse_tuple();
  tokens_.expect_operator(")");
  return inside;
}

ExpressionPtr ExpressionParser::parse_list() {
  const uint32_t line = tokens_.take().line;
  ListLiteral list;
  while (!tokens_.is_operator("]")) {
    list.items.push_back(parse());
    if (!tokens_.take_if_operator(",")) break;
  }
  tokens_.expect_operator("]");
  return make(line, std::move(list));
}

ExpressionPtr ExpressionParser::parse_dict() {
  const uint32_t line = tokens_.take().line;
  DictLiteral dict;
  while (!tokens_.is_operator("}")) {
    ExpressionPtr key = parse();
    tokens_.expect_operator(":");
    dict.members.emplace_back(std::move(key), parse());
    if (!tokens_.take_if_operator(",")) break;
  }
  tokens_.expect_operator("}");
  return make(line, std::move(dict));
}

ExpressionPtr ExpressionParser::parse_postfix(ExpressionPtr object) {
  for (size_t links = 1;; ++links) {
    check_chain(links);
    if (tokens_.is_operator(".") || tokens_.is_operator("[")) {
      object = parse_member(std::move(object));
    } else if (tokens_.is_operator("(")) {
      object = parse_call(std::move(object));
    } else {
      return object;
    }
  }
}

ExpressionPtr ExpressionParser::parse_filters_and_tests(ExpressionPtr input) {
  for (size_t links = 1;; ++links) {
    check_chain(links);
    if (tokens_.take_if_operator("|")) {
      input = parse_filter(std::move(input));
    } else if (tokens_.take_if_name("is")) {
      input = parse_test(std::move(input));
    } else if (tokens_.is_operator("(")) {
      input = parse_call(std::move(input));
    } else {
      return input;
    }
  }
}

ExpressionPtr ExpressionParser::parse_member(ExpressionPtr object) {
  const Token& token = tokens_.take();
  if (token.text == "[") return parse_subscript(std::move(object), token.line);
  if (tokens_.is(TokenKind::kInteger)) {
    ExpressionPtr key = make(token.line, Constant{Value(tokens_.take().integer)});
    return make(token.line, Item{.object = std::move(object), .key = std::move(key)});
  }
  return make(token.line, Attribute{.object = std::move(object), .name = std::string(tokens_.expect_any_name())});
}

ExpressionPtr ExpressionParser::parse_subscript(ExpressionPtr object, uint32_t line) {
  const auto part = [&]() -> ExpressionPtr {
    return tokens_.is_operator(":") || tokens_.is_operator("]") ? nullptr : parse();
  };
  ExpressionPtr first = part();
  if (!tokens_.is_operator(":")) {
    if (first == nullptr) tokens_.fail_unexpected("an expression");
    if (tokens_.is_operator(",")) tokens_.fail("several indices are not supported");
    tokens_.expect_operator("]");
    return make(line, Item{.object = std::move(object), .key = std::move(first)});
  }
  tokens_.take();
  ExpressionPtr to = part();
  ExpressionPtr step = tokens_.take_if_operator(":") ? part() : nullptr;
  tokens_.expect_operator("]");
  return make(
      line, Slice{.object = std::move(object), .from = std::move(first), .to = std::move(to), .step = std::move(step)});
}

void ExpressionParser::parse_argument(ArgumentList& arguments) {
  const auto ensure = [&](bool fits) {
    if (!fits) tokens_.fail("an argument stands in the wrong order");
  };
  if (tokens_.take_if_operator("*")) {
    ensure(arguments.more_positional == nullptr && arguments.more_named == nullptr);
    arguments.more_positional = parse();
  } else if (tokens_.take_if_operator("**")) {
    ensure(arguments.more_named == nullptr);
    arguments.more_named = parse();
  } else if (tokens_.is(TokenKind::kName) && tokens_.next().kind == TokenKind::kOperator &&
             tokens_.next().text == "=") {
    ensure(arguments.more_named == nullptr);
    std::string name(tokens_.expect_any_name());
    tokens_.take();
    const bool twice = std::any_of(arguments.named.begin(), arguments.named.end(),
                                   [&](const auto& earlier) { return earlier.first == name; });
    if (twice) tokens_.fail(fmt::format("the argument '{}' is given twice", name));
    arguments.named.emplace_back(std::move(name), parse());
  } else {
    ensure(arguments.more_positional == nullptr && arguments.more_named == nullptr && arguments.named.empty());
    arguments.positional.push_back(parse());
  }
}

ArgumentList ExpressionParser::parse_arguments() {
  ArgumentList arguments;
  tokens_.expect_operator("(");
  while (!tokens_.is_operator(")")) {
    parse_argument(arguments);
    if (!tokens_.take_if_operator(",")) break;
  }
  tokens_.expect_operator(")");
  return arguments;
}

ExpressionPtr ExpressionParser::parse_call(ExpressionPtr callee) {
  if (const auto* const attribute = std::get_if<Attribute>(&callee->node)) {
    if (!is_method(attribute->name)) tokens_.fail(fmt::format("the method '{}' is not supported", attribute->name));
  }
  if (const auto* const variable = std::get_if<Variable>(&callee->node)) {
    for (const std::string_view name : {"lipsum", "cycler", "joiner"}) {
      if (variable->name == name) tokens_.fail(fmt::format("the function '{}' is not supported", name));
    }
  }
  const uint32_t line = tokens_.current().line;
  return make(line, Call{.callee = std::move(callee), .arguments = parse_arguments()});
}

// map('upper'), selectattr('role', 'equalto', 'user'): names of filters and tests that are arguments.
void ExpressionParser::check_names_in(const ArgumentList& arguments, std::string_view filter) const {
  const bool is_map = filter == "map";
  const bool by_attribute = filter == "selectattr" || filter == "rejectattr";
  if (!is_map && !by_attribute && filter != "select" && filter != "reject") return;
  const size_t at = by_attribute ? 1 : 0;
  if (arguments.positional.size() <= at) return;
  const std::string* const name = constant_text(*arguments.positional[at]);
  if (name == nullptr) return;
  if (is_map && find_filter(*name) == nullptr) tokens_.fail(fmt::format("the filter '{}' is not supported", *name));
  if (!is_map && find_test(*name) == nullptr) tokens_.fail(fmt::format("the test '{}' is not supported", *name));
}

ExpressionPtr ExpressionParser::parse_filter(ExpressionPtr input) {
  const uint32_t line = tokens_.current().line;
  const std::string name(tokens_.expect_any_name());
  const Filter* const filter = find_filter(name);
  if (filter == nullptr) tokens_.fail(fmt::format("the filter '{}' is not supported", name));
  ArgumentList arguments;
  if (tokens_.is_operator("(")) arguments = parse_arguments();
  check_names_in(arguments, name);
  return make(line, FilterUse{.input = std::move(input), .filter = filter, .arguments = std::move(arguments)});
}

ExpressionPtr ExpressionParser::parse_block_filters(bool first_is_name) {
  ExpressionPtr filters;
  if (first_is_name) filters = parse_filter(nullptr);
  for (size_t links = 1; tokens_.take_if_operator("|"); ++links) {
    check_chain(links);
    filters = parse_filter(std::move(filters));
  }
  return filters;
}

bool ExpressionParser::begins_test_argument() const {
  const Token& token = tokens_.current();
  switch (token.kind) {
    case TokenKind::kName:
      return token.text != "else" && token.text != "or" && token.text != "and";
    case TokenKind::kString:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return true;
    case TokenKind::kOperator:
      return token.text == "[" || token.text == "{";
    default:
      return false;
  }
}

ExpressionPtr ExpressionParser::parse_test(ExpressionPtr input) {
  const uint32_t line = tokens_.current().line;
  const bool negated = tokens_.take_if_name("not");
  const std::string name(tokens_.expect_any_name());
  const ValueTest* const test = find_test(name);
  if (test == nullptr) tokens_.fail(fmt::format("the test '{}' is not supported", name));
  ArgumentList arguments;
  if (tokens_.is_operator("(")) {
    arguments = parse_arguments();
  } else if (begins_test_argument()) {
    if (tokens_.is_name("is")) tokens_.fail("tests cannot follow each other; use `and`");
    arguments.positional.push_back(parse_postfix(parse_primary()));
  }
  ExpressionPtr result =
      make(line, TestUse{.input = std::move(input), .test = test, .arguments = std::move(arguments)});
  return negated ? make(line, Unary{.operation = UnaryOperator::kNot, .operand = std::move(result)})
                 : std::move(result);
}

}  // namespace bellwether::text::jinja
