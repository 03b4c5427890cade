// One rendering of a template.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/functions.h"
#include "text/jinja/syntax.h"

namespace bellwether::text::jinja {

// Variables of a template, a macro, one iteration of a loop and the like; the enclosing ones are visible, but what is
// assigned inside ends with it.
struct Scope {
  std::vector<std::pair<std::string_view, Value>> variables;
  std::shared_ptr<const Scope> outer;

  [[nodiscard]] const Value* find(std::string_view name) const;
  void set(std::string_view name, Value value);  // `name` must outlive the scope
};
using ScopePtr = std::shared_ptr<Scope>;

// REQUIRES: statements and names of variables outlive it. One use.
class Interpreter {
 public:
  Interpreter(Budget& budget, std::time_t now);

  // Throws RenderError, with what went wrong, and Raised. line(): where.
  [[nodiscard]] std::string render(const Statements& statements,
                                   std::vector<std::pair<std::string_view, Value>> variables);
  [[nodiscard]] uint32_t line() const { return line_; }

 private:
  enum class Flow { kNext, kBreak, kContinue };

  Flow execute(const Statements& statements, const ScopePtr& scope);
  Flow execute(const Statement& statement, const ScopePtr& scope);
  Flow run(const Data& node, const ScopePtr& scope);
  Flow run(const Print& node, const ScopePtr& scope);
  Flow run(const For& node, const ScopePtr& scope);
  Flow run(const If& node, const ScopePtr& scope);
  Flow run(const Set& node, const ScopePtr& scope);
  Flow run(const SetBlock& node, const ScopePtr& scope);
  Flow run(const Macro& node, const ScopePtr& scope);
  Flow run(const CallBlock& node, const ScopePtr& scope);
  Flow run(const FilterBlock& node, const ScopePtr& scope);
  Flow run(const With& node, const ScopePtr& scope);
  Flow run(const Scoped& node, const ScopePtr& scope);
  Flow run(const Break& node, const ScopePtr& scope);
  Flow run(const Continue& node, const ScopePtr& scope);

  [[nodiscard]] Value evaluate(const Expression& expression, const ScopePtr& scope);
  [[nodiscard]] Value value_of(const Constant& node, const ScopePtr& scope);
  [[nodiscard]] Value value_of(const Variable& node, const ScopePtr& scope);
  [[nodiscard]] Value value_of(const ListLiteral& node, const ScopePtr& scope);
  [[nodiscard]] Value value_of(const DictLiteral& node, const ScopePtr& scope);
  [[nodiscard]] Value value_of(const Attribute& node, const ScopePtr& scope);
  [[nodiscard]] Value value_of(const Item& node, const ScopePtr& scope);
  [[nodiscard]] Value value_of(const Slice& node, const ScopePtr& scope);
  [[nodiscard]] Value value_of(const Call& node, const ScopePtr& scope);
  [[nodiscard]] Value value_of(const FilterUse& node, const ScopePtr& scope);
  [[nodiscard]] Value value_of(const TestUse& node, const ScopePtr& scope);
  [[nodiscard]] Value value_of(const Unary& node, const ScopePtr& scope);
  [[nodiscard]] Value value_of(const Binary& node, const ScopePtr& scope);
  [[nodiscard]] Value value_of(const Concatenation& node, const ScopePtr& scope);
  [[nodiscard]] Value value_of(const Comparison& node, const ScopePtr& scope);
  [[nodiscard]] Value value_of(const Conditional& node, const ScopePtr& scope);

  void assign(const Target& target, const Value& value, const ScopePtr& scope);
  [[nodiscard]] std::shared_ptr<const Values> loop_items(const For& node, const ScopePtr& scope);
  [[nodiscard]] Arguments evaluate(const ArgumentList& list, const ScopePtr& scope);
  [[nodiscard]] Value call(const Value& callee, const Arguments& arguments);
  // A macro or the body of a call block as a function.
  [[nodiscard]] Value make_function(std::string_view name, const Parameters& parameters, const Statements& body,
                                    const ScopePtr& scope);
  void bind(std::string_view name, const Parameters& parameters, const Arguments& arguments, const ScopePtr& inner);
  // What the statements write, in a scope of their own.
  [[nodiscard]] Value captured(const Statements& statements, const ScopePtr& scope);
  // Through filters that stand in front of a block.
  [[nodiscard]] Value filtered(const Expression& filters, const Value& text, const ScopePtr& scope);

  Budget& budget_;
  Namespaces namespaces_;
  const std::vector<std::pair<std::string_view, Value>> functions_;
  std::string out_;
  uint32_t line_ = 1;
};

}  // namespace bellwether::text::jinja
