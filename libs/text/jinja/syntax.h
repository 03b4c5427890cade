// A template as a tree. Immutable once parsed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja/value.h"

namespace bellwether::text::jinja {

struct Filter;     // filters.h
struct ValueTest;  // value_tests.h

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;
using Expressions = std::vector<ExpressionPtr>;

struct ArgumentList {
  Expressions positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr more_positional = nullptr;  // *values
  ExpressionPtr more_named = nullptr;       // **values
};

struct Constant {
  Value value;
};
struct Variable {
  std::string name;
};
struct ListLiteral {
  Expressions items;
  bool is_tuple = false;
};
struct DictLiteral {
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> members;
};
struct Attribute {  // object.name
  ExpressionPtr object;
  std::string name;
};
struct Item {  // object[key]
  ExpressionPtr object;
  ExpressionPtr key;
};
struct Slice {  // object[from:to:step], each may be missing
  ExpressionPtr object;
  ExpressionPtr from;
  ExpressionPtr to;
  ExpressionPtr step;
};
struct Call {
  ExpressionPtr callee;
  ArgumentList arguments;
};
struct FilterUse {
  ExpressionPtr input;  // nullptr in front of a block: the block's text
  const Filter* filter = nullptr;
  ArgumentList arguments;
};
struct TestUse {
  ExpressionPtr input;
  const ValueTest* test = nullptr;
  ArgumentList arguments;
};
enum class UnaryOperator { kNot, kMinus, kPlus };
struct Unary {
  UnaryOperator operation;
  ExpressionPtr operand;
};
enum class BinaryOperator { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower, kAnd, kOr };
struct Binary {
  BinaryOperator operation;
  ExpressionPtr left;
  ExpressionPtr right;
};
struct Concatenation {  // a ~ b ~ c
  Expressions parts;
};
enum class Comparator { kEqual, kNotEqual, kLess, kLessOrEqual, kGreater, kGreaterOrEqual, kIn, kNotIn };
struct Comparison {  // a < b < c, as Python reads it
  ExpressionPtr first;
  std::vector<std::pair<Comparator, ExpressionPtr>> rest;
};
struct Conditional {  // yes if condition else no
  ExpressionPtr condition;
  ExpressionPtr yes;
  ExpressionPtr no;  // may be missing
};

struct Expression {
  using Node = std::variant<Constant, Variable, ListLiteral, DictLiteral, Attribute, Item, Slice, Call, FilterUse,
                            TestUse, Unary, Binary, Concatenation, Comparison, Conditional>;
  Node node;
  uint32_t line = 1;
};

struct Statement;
using Statements = std::vector<Statement>;

// What is assigned to: a name, a member of a namespace, or several targets that take an item each.
struct Target {
  std::string name;
  std::string member = {};
  std::vector<Target> parts = {};
  bool is_tuple = false;
};

struct Parameters {
  struct Parameter {
    std::string name;
    ExpressionPtr default_value;  // may be missing
  };
  std::vector<Parameter> parameters;
};

struct Data {
  std::shared_ptr<const std::string> text;
};
struct Print {
  ExpressionPtr value;
};
struct For {
  Target target;
  ExpressionPtr items;
  ExpressionPtr condition;  // may be missing
  Statements body;
  Statements otherwise;
};
struct If {
  struct Branch {
    ExpressionPtr condition;
    Statements body;
  };
  std::vector<Branch> branches;
  Statements otherwise;
};
struct Set {
  Target target;
  ExpressionPtr value;
};
struct SetBlock {
  Target target;
  ExpressionPtr filter;  // a chain of FilterUse, may be missing
  Statements body;
};
struct Macro {
  std::string name;
  Parameters parameters;
  Statements body;
};
struct CallBlock {
  Parameters parameters;
  ExpressionPtr call;  // holds a Call
  Statements body;
};
struct FilterBlock {
  ExpressionPtr filter;
  Statements body;
};
struct With {
  std::vector<std::pair<Target, ExpressionPtr>> variables;
  Statements body;
};
// {% generation %}: what the assistant said, marked for training. Here only its scope is left.
struct Scoped {
  Statements body;
};
struct Break {};
struct Continue {};

struct Statement {
  using Node =
      std::variant<Data, Print, For, If, Set, SetBlock, Macro, CallBlock, FilterBlock, With, Scoped, Break, Continue>;
  Node node;
  uint32_t line = 1;
};

}  // namespace bellwether::text::jinja
