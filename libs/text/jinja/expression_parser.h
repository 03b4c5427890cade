// Expressions, by Jinja's precedence: if, or, and, not, comparisons and in, + and -, ~, * and the like, **, signs,
// then members, calls, filters and tests.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "text/jinja/syntax.h"
#include "text/jinja/token_stream.h"

namespace bellwether::text::jinja {

class ExpressionParser {
 public:
  ExpressionParser(TokenStream& tokens, const Limits& limits) : tokens_(tokens), limits_(limits) {}

  // Throws LoadError. `conditional`: also `yes if condition else no`.
  [[nodiscard]] ExpressionPtr parse(bool conditional = true);
  // Also a tuple without parentheses.
  [[nodiscard]] ExpressionPtr parse_tuple(bool conditional = true);
  // `first_is_name`: the name of the first filter stands here, without '|'. Input of the first is the block's text.
  // nullptr when none stands here.
  [[nodiscard]] ExpressionPtr parse_block_filters(bool first_is_name);

  // Inside of a macro `varargs` and `kwargs` would mean something.
  void set_in_macro(bool in_macro) { in_macro_ = in_macro; }

  // One level of nesting: of expressions here and of statements in parser.cpp.
  class Level {
   public:
    explicit Level(ExpressionParser& parser, size_t levels = 1);
    ~Level() { parser_.depth_ -= levels_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    ExpressionParser& parser_;
    const size_t levels_;
  };

 private:
  [[nodiscard]] ExpressionPtr parse_conditional();
  [[nodiscard]] ExpressionPtr parse_or();
  [[nodiscard]] ExpressionPtr parse_and();
  [[nodiscard]] ExpressionPtr parse_not();
  [[nodiscard]] ExpressionPtr parse_comparison();
  [[nodiscard]] std::optional<Comparator> take_comparator();
  [[nodiscard]] ExpressionPtr parse_sum();
  [[nodiscard]] ExpressionPtr parse_concatenation();
  [[nodiscard]] ExpressionPtr parse_product();
  [[nodiscard]] ExpressionPtr parse_power();
  [[nodiscard]] ExpressionPtr parse_signed(bool with_filters);
  [[nodiscard]] ExpressionPtr parse_primary();
  [[nodiscard]] ExpressionPtr parse_name();
  [[nodiscard]] ExpressionPtr parse_string();
  [[nodiscard]] ExpressionPtr parse_parentheses();
  [[nodiscard]] ExpressionPtr parse_list();
  [[nodiscard]] ExpressionPtr parse_dict();
  [[nodiscard]] ExpressionPtr parse_postfix(ExpressionPtr object);
  [[nodiscard]] ExpressionPtr parse_filters_and_tests(ExpressionPtr input);
  [[nodiscard]] ExpressionPtr parse_member(ExpressionPtr object);
  [[nodiscard]] ExpressionPtr parse_subscript(ExpressionPtr object, uint32_t line);
  [[nodiscard]] ExpressionPtr parse_call(ExpressionPtr callee);
  [[nodiscard]] ExpressionPtr parse_filter(ExpressionPtr input);
  [[nodiscard]] ExpressionPtr parse_test(ExpressionPtr input);
  [[nodiscard]] ArgumentList parse_arguments();
  void parse_argument(ArgumentList& arguments);
  [[nodiscard]] bool begins_test_argument() const;
  void check_names_in(const ArgumentList& arguments, std::string_view filter) const;

  // A chain of operators makes a tree as deep as it is long.
  void check_chain(size_t links) const;

  TokenStream& tokens_;
  const Limits& limits_;
  size_t depth_ = 0;
  bool in_macro_ = false;
};

}  // namespace bellwether::text::jinja
